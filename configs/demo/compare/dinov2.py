# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2 on digits: two large and four small crops, 256 prototypes of class tokens and of patches."""
_base_ = '_vit.py'

model = dict(
    type='DINOv2',
    base_momentum=0.99,
    backbone=dict(type='VisionTransformer', with_mask_token=True),
    neck=dict(type='DINONeck', channels=[256, 64], out_channels=256, norm_cfg=dict(type='BN'), vit_backbone=True),
    patch_neck=dict(type='DINONeck', channels=[256, 64], out_channels=256, norm_cfg=dict(type='BN')),
    head=dict(type='IBOTHead', targets='sinkhorn', teacher_temp=0.02, patch_teacher_temp=0.02))
crop = dict(type='RandomResizedCrop', size=16, scale=(0.2, 0.6))
small_pipeline = [dict(type='RandomRotation', degrees=15, interpolation='bilinear'), crop]
data = dict(
    train=dict(
        _delete_=True,
        type='MultiViewDataset',
        data_source={{_base_.data_source}},
        num_views=[2, 4],
        pipelines=[{{_base_.train_pipeline}}, small_pipeline],
        prefetch={{_base_.prefetch}}))
optimizer = dict(lr=1e-3)
optimizer_config = dict(frozen_layers_cfg=dict(last_layer='1 epoch'))
custom_hooks = [dict(type='MomentumUpdateHook')]
demo = dict(layer='cls_token')
