# Copyright (c) mmssl contributors. All rights reserved.
"""LARS, ten epochs of warm-up, cosine decay to zero over 200 epochs, for a batch of 4096."""
optimizer = dict(
    type='LARS',
    lr=4.8,
    weight_decay=1e-6,
    momentum=0.9,
    # norm layers and biases take the plain step, without decay
    paramwise_options={
        '(bn|gn)(\\d+)?.(weight|bias)': dict(weight_decay=0., lars_exclude=True),
        'bias': dict(weight_decay=0., lars_exclude=True)
    })
optimizer_config = dict()

lr_config = dict(
    policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=10, warmup_ratio=1e-4, warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=200)
