# Copyright (c) mmssl contributors. All rights reserved.
"""iBOT on digits: two large and four small crops, 256 prototypes; of half of the large crops some patches are hidden.

As for DINO, a batch norm tells the projections of a new network apart. It sees the patches as well, which outnumber the
class tokens, and with a centre the targets of these became all alike: Sinkhorn keeps them apart.
"""
_base_ = '_vit.py'

small_pipeline = [
    dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
    dict(type='RandomResizedCrop', size=16, scale=(0.2, 0.6)),
]
model = dict(
    type='IBOT',
    base_momentum=0.99,
    backbone=dict(type='VisionTransformer', with_mask_token=True),
    neck=dict(type='IBOTNeck', channels=[256, 64], out_channels=256, norm_cfg=dict(type='BN')),
    head=dict(type='IBOTHead', teacher_temp=0.02, patch_teacher_temp=0.02, targets='sinkhorn'))
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
# the projector sees class tokens and patches
demo = dict(layer='cls_token')
