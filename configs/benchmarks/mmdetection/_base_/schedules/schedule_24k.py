# Copyright (c) mmssl contributors. All rights reserved.
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(
    policy='step', warmup='linear', warmup_iters=100, warmup_ratio=0.001, step=[18000, 22000], by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=24000)
