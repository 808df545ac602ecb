# Copyright (c) mmssl contributors. All rights reserved.
"""Frozen ViT-S/16 of MoCo v3 and a linear classifier on its class token."""
model = dict(
    type='Classification',
    backbone=dict(
        type='VisionTransformer',
        arch='mocov3-small',
        img_size=224,
        patch_size=16,
        stop_grad_conv1=True,
        frozen_stages=12,
        norm_eval=True),
    head=dict(type='ClsHead', in_channels=384, num_classes=1000, vit_backbone=True))
