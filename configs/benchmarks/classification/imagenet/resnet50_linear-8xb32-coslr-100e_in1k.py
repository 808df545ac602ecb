# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet: pooled features, SGD of rate 0.3 along a cosine (Barlow Twins).

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/sgd_coslr-100e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(frozen_stages=4))
auto_scale_lr = dict(enable=False, base_batch_size=256)
