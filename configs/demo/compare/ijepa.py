# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA on digits, in crops alone.

The weights of IJEPAViT begin too small for patches of 16 pixels: tokens would tell of their positions and little else.
"""
_base_ = '_vit.py'

model = dict(
    type='IJEPA',
    base_momentum=0.996,
    backbone=dict(type='VisionTransformer', with_cls_token=False),
    neck=dict(type='IJEPAPredictor', embed_dims=32, num_layers=2, num_heads=4, mlp_ratio=2.),
    head=dict(type='IJEPAHead'))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
        dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
    ]))
custom_hooks = [dict(type='MomentumUpdateHook', mode='linear')]
optimizer = dict(lr=1e-3)
