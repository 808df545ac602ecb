# Copyright (c) mmssl contributors. All rights reserved.
"""Semi-supervised fine-tuning on 1 % of ImageNet: rate 0.1, that of the head 1 times as much.

Command:  GPUS=4 tools/benchmarks/classification/dist_train_semi.sh CONFIG PRETRAIN
"""
_base_ = [
    '../../_base_/models/resnet50.py',
    '../../_base_/datasets/imagenet.py',
    '../../_base_/schedules/sgd_steplr-20e.py',
    '../../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(norm_cfg=dict(type='SyncBN')))
data = dict(samples_per_gpu=64, train=dict(data_source=dict(ann_file='data/imagenet/meta/train_1percent.txt')))
optimizer = dict(weight_decay=5e-4)
auto_scale_lr = dict(enable=False, base_batch_size=256)
