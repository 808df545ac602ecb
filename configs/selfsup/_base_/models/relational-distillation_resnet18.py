# Copyright (c) mmssl contributors. All rights reserved.
"""Relational distillation: ResNet-18 finds the same images, and places of an image, alike as DINOv2's ViT-S/14."""
model = dict(
    type='RelationalDistillation',
    queue_len=8192,
    backbone=dict(type='ResNet', depth=18, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='MLPNeck', channels=[384]),
    head=dict(
        type='RelationalDistillationHead', student_temp=0.07, teacher_temp=0.07, patch_temp=0.07, patch_weight=1.),
    teacher=dict(
        backbone=dict(
            type='TIMMBackbone', model_name='vit_small_patch14_dinov2', pretrained=True, dynamic_img_size=True)))
