# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, a tenth of the rate after 60 and 80 of 100 epochs."""
optimizer = dict(type='SGD', lr=30., momentum=0.9, weight_decay=0.)
optimizer_config = dict()

lr_config = dict(policy='step', step=[60, 80])

runner = dict(type='EpochBasedRunner', max_epochs=100)
