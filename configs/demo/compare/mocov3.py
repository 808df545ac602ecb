# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v3 on digits."""
_base_ = '_vit.py'

neck = dict(
    type='NonLinearNeck',
    in_channels=64,
    hid_channels=256,
    out_channels=64,
    num_layers=3,
    with_last_bn_affine=False,
    with_avg_pool=False,
    vit_backbone=True,
    norm_cfg=dict(type='BN'))
model = dict(
    type='MoCoV3',
    base_momentum=0.97,
    backbone=dict(type='VisionTransformer', stop_grad_conv1=True),
    neck=neck,
    head=dict(
        type='MoCoV3Head', predictor=dict(neck, in_channels=64, num_layers=2, vit_backbone=False), temperature=0.2))
data = dict(
    train=dict(
        _delete_=True,
        type='MultiViewDataset',
        data_source={{_base_.data_source}},
        num_views=[2],
        pipelines=[{{_base_.train_pipeline}}],
        prefetch={{_base_.prefetch}}))
custom_hooks = [dict(type='MomentumUpdateHook')]
optimizer = dict(lr=1e-3)
# the projector sees the class token alone
demo = dict(layer='cls_token')
