# Copyright (c) mmssl contributors. All rights reserved.
"""BYOL on digits."""
_base_ = '_base_.py'

model = dict(
    type='BYOL',
    base_momentum=0.97,
    neck=dict(with_bias=True, with_last_bn=False),
    head=dict(
        _delete_=True,
        type='LatentPredictHead',
        predictor=dict(
            type='NonLinearNeck',
            in_channels=64,
            hid_channels=256,
            out_channels=64,
            num_layers=2,
            with_bias=True,
            with_last_bn=False,
            with_avg_pool=False,
            norm_cfg=dict(type='BN'))))
custom_hooks = [dict(type='MomentumUpdateHook')]
