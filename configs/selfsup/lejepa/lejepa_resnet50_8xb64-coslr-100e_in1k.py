# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA (https://arxiv.org/abs/2511.08544) with ResNet-50, 100 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/lejepa/lejepa_resnet50_8xb64-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'lejepa_vit-small-p16_8xb64-coslr-100e_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(with_avg_pool=True, vit_backbone=False))

# that of the authors for ResNets
optimizer = dict(weight_decay=5e-4)
