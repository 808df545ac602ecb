# Copyright (c) mmssl contributors. All rights reserved.
"""ResNet-50 and a linear classifier on its pooled last map."""
model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN'), frozen_stages=-1),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000))
