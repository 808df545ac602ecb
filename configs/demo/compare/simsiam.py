# Copyright (c) mmssl contributors. All rights reserved.
"""SimSiam on digits."""
_base_ = '_base_.py'

model = dict(
    type='SimSiam',
    neck=dict(out_channels=256, num_layers=3, with_last_bn_affine=False),
    head=dict(
        _delete_=True,
        type='LatentPredictHead',
        predictor=dict(
            type='NonLinearNeck',
            in_channels=256,
            hid_channels=64,
            out_channels=256,
            with_avg_pool=False,
            with_last_bn=False,
            with_last_bias=True,
            norm_cfg=dict(type='BN'))))
optimizer = dict(paramwise_options=dict(predictor=dict(fix_lr=True)))
custom_hooks = [dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=2e-3)]
