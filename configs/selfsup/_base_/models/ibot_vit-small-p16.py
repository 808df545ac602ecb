# Copyright (c) mmssl contributors. All rights reserved.
"""iBOT: DINO whose student does not see all patches of the large crops, with ViT-S/16."""
model = dict(
    type='IBOT',
    base_momentum=0.996,
    backbone=dict(
        type='DINOViT', arch='deit-small', img_size=224, patch_size=16, drop_path_rate=0.1, with_mask_token=True),
    neck=dict(type='IBOTNeck', out_channels=8192, norm_last_layer=False),
    head=dict(type='IBOTHead', teacher_temp=0.04, patch_teacher_temp=0.04, student_temp=0.1),
    # half of the large crops, and of each of these a share within this range
    masks=dict(ratio=[0.1, 0.5], probability=0.5, shape='block'))
