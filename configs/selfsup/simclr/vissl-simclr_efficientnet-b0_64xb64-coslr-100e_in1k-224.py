# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with an EfficientNet-B0 and views of 224 pixels.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_efficientnet-b0_64xb64-coslr-100e_in1k-224.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.
"""
_base_ = 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='efficientnet_b0',
        norm_cfg=dict(type='SyncBN'),
        bn_eps=1e-3,
        bn_momentum=0.01,
        drop_path_rate=0.2),
    neck=dict(channels=[1280, 128]))
