# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2: class tokens and masked patches predicted by one projector, with ViT-L/16."""
model = dict(
    type='DINOv2',
    base_momentum=0.992,
    backbone=dict(
        type='DINOViT',
        arch='large',
        img_size=224,
        patch_size=16,
        with_mask_token=True,
        init_values=1e-5,
        layer_cfgs=dict(drop_path_rate=0.3),  # the same in all layers, as published
        drop_path_subset=True),
    neck=dict(type='IBOTNeck', out_channels=65536, norm_last_layer=False),
    head=dict(type='IBOTHead', teacher_temp=0.04, patch_teacher_temp=0.04, student_temp=0.1),
    masks=dict(ratio=[0.1, 0.5], probability=0.5, stratified=True, min_patches=4),
    koleo_weight=0.1)
