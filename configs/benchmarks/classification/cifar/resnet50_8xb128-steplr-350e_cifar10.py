# Copyright (c) mmssl contributors. All rights reserved.
"""Supervised training on CIFAR-10, or with PRETRAIN fine-tuning of everything.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_steplr-350e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
checkpoint_config = dict(interval=50)
auto_scale_lr = dict(enable=False, base_batch_size=1024)
