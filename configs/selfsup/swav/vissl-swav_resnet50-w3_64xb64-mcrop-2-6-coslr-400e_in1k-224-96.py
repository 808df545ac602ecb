# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with a ResNet-50 three times as wide.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50-w3_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(backbone=dict(width_multiplier=3), neck=dict(hid_channels=6144))
