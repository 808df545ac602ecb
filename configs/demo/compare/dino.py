# Copyright (c) mmssl contributors. All rights reserved.
"""DINO on digits: two large and four small crops, 256 prototypes.

Projections of a new network are much alike, and without a batch norm the targets of so short a training stay alike too.
"""
_base_ = 'swav.py'

model = dict(
    type='DINO',
    base_momentum=0.99,
    neck=dict(_delete_=True, type='DINONeck', channels=[256, 64], out_channels=256, norm_cfg=dict(type='BN')),
    head=dict(_delete_=True, type='DINOHead', teacher_temp=0.02))
optimizer = dict(lr=1e-3)
optimizer_config = dict(_delete_=True, frozen_layers_cfg=dict(last_layer='1 epoch'))
custom_hooks = [dict(type='MomentumUpdateHook')]
