# Copyright (c) mmssl contributors. All rights reserved.
"""Supervised training on ImageNet, or with PRETRAIN fine-tuning of everything.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/sgd_steplr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(norm_cfg=dict(type='SyncBN')))
auto_scale_lr = dict(enable=False, base_batch_size=256)
