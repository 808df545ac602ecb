# Copyright (c) mmssl contributors. All rights reserved.
"""LARS on all parameters, ten epochs of warm-up from 0.3 to 4.8, cosine decay to zero over 100 epochs, batch 4096."""
optimizer = dict(type='LARS', lr=4.8, weight_decay=1e-6, momentum=0.9)
optimizer_config = dict()

lr_config = dict(
    policy='CosineAnnealing',
    min_lr=0.,
    by_epoch=False,
    warmup='linear',
    warmup_iters=10,
    warmup_ratio=0.0625,
    warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=100)
