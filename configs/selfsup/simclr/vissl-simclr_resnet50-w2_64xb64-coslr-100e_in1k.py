# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with a ResNet-50 that is 2 times as wide, 4096 channels at its end.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_resnet50-w2_64xb64-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 69.82 % linear evaluation on ImageNet for this recipe.
"""
_base_ = 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py'

model = dict(backbone=dict(width_multiplier=2), neck=dict(channels=[4096, 128]))
