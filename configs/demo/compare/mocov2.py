# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v2 on digits. The queue is shorter than the data, and split batch norm takes the place of several GPUs."""
_base_ = '_base_.py'

model = dict(
    type='MoCo',
    queue_len=1024,
    feat_dim=64,
    momentum=0.98,
    backbone=dict(norm_cfg=dict(type='SplitBN', num_splits=4)),
    neck=dict(_delete_=True, type='MoCoV2Neck', in_channels=128, hid_channels=256, out_channels=64),
    head=dict(temperature=0.2))
