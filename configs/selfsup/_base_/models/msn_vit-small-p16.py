# Copyright (c) mmssl contributors. All rights reserved.
"""MSN: masked and small views belong to the prototypes of the whole view, with ViT-S/16."""
model = dict(
    type='MSN',
    base_momentum=0.996,
    mask_ratio=0.15,
    backbone=dict(type='DINOViT', arch='deit-small', img_size=224, patch_size=16),
    neck=dict(
        type='MLPNeck',
        channels=[2048, 2048, 256],
        norm_cfg=dict(type='SyncBN'),
        act='GELU',
        with_avg_pool=False,
        vit_backbone=True),
    head=dict(type='MSNHead', num_prototypes=1024, student_temp=0.1, sharpening=0.25, sinkhorn_iterations=3))
