# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with an EfficientNet-B0, two crops of 224 pixels and four of 96.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_efficientnet-b0_64xb64-mcrop-2-4-coslr-400e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='efficientnet_b0',
        norm_cfg=dict(type='SyncBN'),
        bn_eps=1e-3,
        bn_momentum=0.01,
        drop_path_rate=0.2),
    neck=dict(hid_channels=1280))

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
large = [dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.)), color]
small = [dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.14)), color]
data = dict(train=dict(num_views=[2, 4], pipelines=[large, small]))
