# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA on digits, in crops alone."""
_base_ = '_vit.py'

model = dict(
    type='IJEPA',
    base_momentum=0.99,
    backbone=dict(type='IJEPAViT'),
    neck=dict(type='IJEPAPredictor', embed_dims=32, num_layers=2, num_heads=4, mlp_ratio=2.),
    head=dict(type='IJEPAHead'))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
        dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
    ]))
custom_hooks = [dict(type='MomentumUpdateHook', mode='linear')]
