# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, a tenth of the rate after 150 and 250 of 350 epochs."""
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
optimizer_config = dict()

lr_config = dict(policy='step', step=[150, 250])

runner = dict(type='EpochBasedRunner', max_epochs=350)
