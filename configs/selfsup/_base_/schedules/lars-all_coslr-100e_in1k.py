# Copyright (c) mmssl contributors. All rights reserved.
"""LARS for all parameters, norms and biases too, ten epochs of warm-up and a cosine: 100 epochs for batches of 4096."""
optimizer = dict(type='LARS', lr=4.8, weight_decay=1e-6, momentum=0.9)
optimizer_config = dict()

# the cosine begins at the full rate, when the warm-up is over
lr_config = dict(
    policy='StepFixCosineAnnealing',
    by_epoch=False,
    min_lr=0.,
    warmup='linear',
    warmup_iters=10,
    warmup_ratio=0.125,
    warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=100)
