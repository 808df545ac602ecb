# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v1 (https://arxiv.org/abs/1911.05722), 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/mocov1/mocov1_resnet50_8xb32-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/mocov1.py',
    '../_base_/datasets/imagenet_mocov1.py',
    '../_base_/schedules/sgd_steplr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=256)
