# Copyright (c) mmssl contributors. All rights reserved.
"""NNCLR on digits. The queue is shorter than the data."""
_base_ = '_base_.py'

model = dict(
    type='NNCLR',
    queue_len=1024,
    feat_dim=64,
    head=dict(
        _delete_=True,
        type='NNCLRHead',
        temperature=0.2,
        predictor=dict(
            type='NonLinearNeck',
            hid_channels=256,
            out_channels=64,
            with_last_bn=False,
            with_last_bias=True,
            with_avg_pool=False,
            norm_cfg=dict(type='BN'))))
