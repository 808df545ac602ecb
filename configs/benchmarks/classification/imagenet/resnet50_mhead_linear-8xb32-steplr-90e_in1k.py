# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the stem and each stage.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50_multihead.py',
    '../_base_/datasets/imagenet_color-jitter.py',
    '../_base_/schedules/nesterov_steplr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=256)
