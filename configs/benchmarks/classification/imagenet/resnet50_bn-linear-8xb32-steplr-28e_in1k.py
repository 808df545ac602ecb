# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet as in VISSL's trunk output: batch norm and a classifier on the pooled last map.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The norm brings features of any scale to that which one learning rate suits.
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/nesterov_steplr-28e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(frozen_stages=4), head=dict(norm_cfg=dict(type='SyncBN')))

optimizer = dict(weight_decay=5e-4)
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(step=[8, 16, 24])
