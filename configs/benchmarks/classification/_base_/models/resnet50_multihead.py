# Copyright (c) mmssl contributors. All rights reserved.
"""Frozen ResNet-50 with a linear classifier on each stage, each pooled to about 9,000 numbers and normalised."""
model = dict(
    type='Classification',
    backbone=dict(
        type='ResNet', depth=50, in_channels=3, out_indices=[0, 1, 2, 3, 4], norm_cfg=dict(type='BN'), frozen_stages=4),
    head=dict(
        type='MultiClsHead',
        pool_type='specified',
        in_indices=[0, 1, 2, 3, 4],
        with_last_layer_unpool=False,
        backbone='resnet50',
        norm_cfg=dict(type='SyncBN', momentum=0.1, affine=False),
        num_classes=1000))
