# Copyright (c) mmssl contributors. All rights reserved.
"""MSN on digits: a whole view, a masked one, and four small ones."""
_base_ = 'swav.py'

model = dict(
    _delete_=True,
    type='MSN',
    base_momentum=0.99,
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=64, num_layers=3, num_heads=4, feedforward_channels=128),
        img_size=32,
        patch_size=4,
        in_channels=1),
    neck=dict(
        type='MLPNeck',
        channels=[256, 256, 64],
        norm_cfg=dict(type='BN'),
        act='GELU',
        with_avg_pool=False,
        vit_backbone=True),
    head=dict(type='MSNHead', num_prototypes=60))
optimizer = dict(lr=1e-3)
optimizer_config = dict(_delete_=True)
custom_hooks = [dict(type='MomentumUpdateHook', mode='linear')]
channels_last = False
