# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with a RegNetY-128GF, and no norm in the projector.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_regnety-128gf_64xb64-mcrop-2-6-coslr-400e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 78.36 % linear evaluation on ImageNet for this recipe.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(
    backbone=dict(_delete_=True, type='RegNet', arch='y-128gf', norm_cfg=dict(type='SyncBN')),
    neck=dict(_delete_=True, type='MLPNeck', channels=[7392, 128], with_l2norm=True))
