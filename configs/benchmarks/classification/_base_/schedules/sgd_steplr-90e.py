# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, a tenth of the rate after 30 and 60 of 90 epochs."""
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
optimizer_config = dict()

lr_config = dict(policy='step', step=[30, 60, 90])

runner = dict(type='EpochBasedRunner', max_epochs=90)
