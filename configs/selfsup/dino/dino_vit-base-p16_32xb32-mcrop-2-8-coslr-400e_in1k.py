# Copyright (c) mmssl contributors. All rights reserved.
"""DINO (https://arxiv.org/abs/2104.14294) with ViT-B/16, 400 epochs of ImageNet, batch 1024.

Command:  tools/dist_train.sh configs/selfsup/dino/dino_vit-base-p16_32xb32-mcrop-2-8-coslr-400e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0..3 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors published for ViT-B/16 78.2 % linear evaluation on ImageNet and
          76.1 % by 20 nearest neighbours.
"""
_base_ = 'dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e_in1k.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(norm_last_layer=True))

data = dict(samples_per_gpu=32)

optimizer = dict(lr=2e-3)
optimizer_config = dict(grad_clip=dict(max_norm=0.3), frozen_layers_cfg=dict(last_layer='3 epochs'))

custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='head.teacher_temp', start=0.04, end=0.07, epochs=50, by_epoch=True),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
]

runner = dict(max_epochs=400)
