# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2 on digits: iBOT's crops, with 256 prototypes of class tokens and 256 others of patches."""
_base_ = 'ibot.py'

model = dict(
    type='DINOv2',
    neck=dict(
        _delete_=True,
        type='DINONeck',
        channels=[256, 64],
        out_channels=256,
        norm_cfg=dict(type='BN'),
        vit_backbone=True),
    patch_neck=dict(type='DINONeck', channels=[256, 64], out_channels=256, norm_cfg=dict(type='BN')))
