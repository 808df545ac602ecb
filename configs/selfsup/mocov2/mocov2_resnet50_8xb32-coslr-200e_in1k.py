# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v2 (https://arxiv.org/abs/2003.04297), 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 67.56 % linear evaluation on
          ImageNet (pooled features) and 84.04 mAP of linear SVMs on VOC07.
"""
_base_ = [
    '../_base_/models/mocov2.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=256)
