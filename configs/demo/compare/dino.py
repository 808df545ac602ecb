# Copyright (c) mmssl contributors. All rights reserved.
"""DINO on digits: two large and four small crops, 256 prototypes."""
_base_ = 'swav.py'

model = dict(
    type='DINO',
    base_momentum=0.98,
    neck=dict(_delete_=True, type='DINONeck', channels=[256, 64], out_channels=256),
    head=dict(_delete_=True, type='DINOHead'))
optimizer_config = dict(_delete_=True, frozen_layers_cfg=dict(last_layer='1 epoch'))
custom_hooks = [dict(type='MomentumUpdateHook')]
