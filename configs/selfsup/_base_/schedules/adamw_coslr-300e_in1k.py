# Copyright (c) mmssl contributors. All rights reserved.
"""AdamW, forty epochs of warm-up, cosine decay to zero over 300 epochs, for a batch of 4096."""
optimizer = dict(type='AdamW', lr=2.4e-3, weight_decay=0.1)
optimizer_config = dict()

lr_config = dict(
    policy='CosineAnnealing',
    by_epoch=False,
    min_lr=0.,
    warmup='linear',
    warmup_iters=40,
    warmup_ratio=1e-4,
    warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=300)
