# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with a ResNet-50 that is 3 times as wide, 6144 channels at its end.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_resnet50-w3_64xb64-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.
"""
_base_ = 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py'

model = dict(backbone=dict(width_multiplier=3), neck=dict(channels=[6144, 128]))
