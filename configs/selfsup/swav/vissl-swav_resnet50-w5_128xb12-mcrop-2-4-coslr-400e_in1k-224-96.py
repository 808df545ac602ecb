# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with a ResNet-50 five times as wide, batch 1536, a queue of that length, and no norm in the projector.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50-w5_128xb12-mcrop-2-4-coslr-400e_in1k-224-96.py 8
Hardware: 128 GPUs with 12 images each, here as 16 nodes: NNODES=16 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 78.5 % linear evaluation on ImageNet for this recipe.

The learning rate rises from 0.3 to 1.8 and falls to 0.0018.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(
    backbone=dict(width_multiplier=5),
    neck=dict(_delete_=True, type='MLPNeck', channels=[10240, 128], with_l2norm=True))

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
large = [dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.)), color]
small = [dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.14)), color]
data = dict(samples_per_gpu=12, train=dict(num_views=[2, 4], pipelines=[large, small]))

custom_hooks = [dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=0, queue_length=1536)]

optimizer = dict(lr=1.8)
auto_scale_lr = dict(base_batch_size=1536)

lr_config = dict(min_lr=0.0018, warmup_ratio=1 / 6)
