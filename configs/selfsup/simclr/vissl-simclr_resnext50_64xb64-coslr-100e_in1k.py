# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with a ResNeXt-50 of 32 groups, 4 channels each.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_resnext50_64xb64-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

VISSL's overlay resnext50 builds a plain ResNet-50; the name is taken at its word here.
"""
_base_ = 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py'

model = dict(backbone=dict(type='ResNeXt', depth=50, groups=32, width_per_group=4))
