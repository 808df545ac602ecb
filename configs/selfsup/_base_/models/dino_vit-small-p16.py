# Copyright (c) mmssl contributors. All rights reserved.
"""DINO: a student predicts what its moving average says of other views, with ViT-S/16."""
model = dict(
    type='DINO',
    base_momentum=0.996,
    backbone=dict(type='DINOViT', arch='deit-small', img_size=224, patch_size=16, drop_path_rate=0.1),
    neck=dict(type='DINONeck', out_channels=65536, norm_last_layer=False, with_avg_pool=False, vit_backbone=True),
    head=dict(type='DINOHead', teacher_temp=0.04, student_temp=0.1))
