# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with a ResNet-50 that is 4 times as wide, 8192 channels at its end.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_resnet50-w4_64xb64-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 71.61 % linear evaluation on ImageNet after 1000 epochs.
"""
_base_ = 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py'

model = dict(backbone=dict(width_multiplier=4), neck=dict(channels=[8192, 128]))
