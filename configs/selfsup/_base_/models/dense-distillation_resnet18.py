# Copyright (c) mmssl contributors. All rights reserved.
"""Dense distillation: ResNet-18 regresses the last two layers of DINOv2's ViT-S/14, place by place."""
model = dict(
    type='DenseDistillation',
    backbone=dict(type='ResNet', depth=18, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='MapNeck', channels=[768]),
    head=dict(type='DenseDistillationHead', kind='mse'),
    teacher=dict(
        backbone=dict(
            type='TIMMBackbone',
            model_name='vit_small_patch14_dinov2',
            pretrained=True,
            dynamic_img_size=True,
            out_indices=[-2, -1],
            norm_stages=True)))
