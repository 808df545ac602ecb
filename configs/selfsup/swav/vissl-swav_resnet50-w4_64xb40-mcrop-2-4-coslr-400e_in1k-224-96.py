# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with a ResNet-50 four times as wide, batch 2560, and a queue of that length from the start.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50-w4_64xb40-mcrop-2-4-coslr-400e_in1k-224-96.py 8
Hardware: 64 GPUs with 40 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 77.03 % linear evaluation on ImageNet for this recipe.

The learning rate rises from 0.3 to 3.0 and falls to 0.003.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(backbone=dict(width_multiplier=4), neck=dict(hid_channels=8192))

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
large = [dict(type='RandomResizedCrop', size=224, scale=(0.08, 1.)), color]
small = [dict(type='RandomResizedCrop', size=96, scale=(0.08, 0.14)), color]
data = dict(samples_per_gpu=40, train=dict(num_views=[2, 4], pipelines=[large, small]))

custom_hooks = [dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=0, queue_length=2560)]

optimizer = dict(lr=3.)
auto_scale_lr = dict(base_batch_size=2560)

lr_config = dict(min_lr=0.003, warmup_ratio=0.1)
