# Copyright (c) mmssl contributors. All rights reserved.
"""SGD with Nesterov momentum, a tenth of the rate after each third or so of 90 epochs."""
optimizer = dict(
    type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4, paramwise_options=dict(norm_decay_mult=0.), nesterov=True)
optimizer_config = dict()

lr_config = dict(policy='step', step=[30, 60, 90])

runner = dict(type='EpochBasedRunner', max_epochs=90)
