# Copyright (c) mmssl contributors. All rights reserved.
"""The student by itself: MoCo v2, with split batch norm in place of several GPUs."""
_base_ = '_base_.py'

model = dict(
    type='MoCo',
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
    backbone=dict(norm_cfg=dict(type='SplitBN', num_splits=8)),
    neck=dict(_delete_=True, type='MoCoV2Neck', in_channels=128, hid_channels=512, out_channels=128),
    head=dict(temperature=0.2))
