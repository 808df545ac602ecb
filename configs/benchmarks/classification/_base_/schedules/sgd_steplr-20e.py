# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, a fifth of the rate after 12 and 16 of 20 epochs."""
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, paramwise_options={r'\Ahead.': dict(lr_mult=1)})
optimizer_config = dict()

lr_config = dict(policy='step', step=[12, 16], gamma=0.2)

runner = dict(type='EpochBasedRunner', max_epochs=20)
