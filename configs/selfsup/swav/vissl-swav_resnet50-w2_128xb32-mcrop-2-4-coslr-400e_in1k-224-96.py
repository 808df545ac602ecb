# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with a ResNet-50 twice as wide, and two and four crops.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50-w2_128xb32-mcrop-2-4-coslr-400e_in1k-224-96.py 8
Hardware: 128 GPUs with 32 images each, here as 16 nodes: NNODES=16 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 77.01 % linear evaluation on ImageNet for this recipe.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(backbone=dict(width_multiplier=2), neck=dict(hid_channels=8192))

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
large = [dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.)), color]
small = [dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.14)), color]
data = dict(samples_per_gpu=32, train=dict(num_views=[2, 4], pipelines=[large, small]))
