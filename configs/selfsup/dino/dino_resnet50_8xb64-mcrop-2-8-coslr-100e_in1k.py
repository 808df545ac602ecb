# Copyright (c) mmssl contributors. All rights reserved.
"""DINO (https://arxiv.org/abs/2104.14294) with ResNet-50, 100 epochs of ImageNet, batch 512, as on one machine.

Command:  tools/dist_train.sh configs/selfsup/dino/dino_resnet50_8xb64-mcrop-2-8-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet. These are the settings that the authors name for convolutional networks; their
          published ResNet-50, of a longer training on 80 GPUs, has 75.3 % linear evaluation on ImageNet and 67.5 % by
          20 nearest neighbours.
"""
_base_ = 'dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(norm_last_layer=True, with_avg_pool=True, vit_backbone=False))

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
first_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.), interpolation=3),
    color,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=1.),
]
second_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.), interpolation=3),
    color,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.1),
    dict(type='Solarization', p=0.2),
]
small = [
    dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.14), interpolation=3),
    color,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]
data = dict(train=dict(pipelines=[first_pipeline, second_pipeline, small]))

# 0.03 for each 256 images
optimizer = dict(type='SGD', lr=0.06, momentum=0.9, weight_decay=1e-4)
auto_scale_lr = dict(base_batch_size=512)

custom_hooks = [dict(type='MomentumUpdateHook')]

runner = dict(max_epochs=100)
