# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction: by which of four angles was the image turned?"""
model = dict(
    type='RotationPred',
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=4))
