# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet: pooled features, SGD of rate 30 (MoCo), where losses of 60 to 130 at first are normal.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/sgd_steplr-100e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(frozen_stages=4))
evaluation = dict(interval=1)
auto_scale_lr = dict(enable=False, base_batch_size=256)
