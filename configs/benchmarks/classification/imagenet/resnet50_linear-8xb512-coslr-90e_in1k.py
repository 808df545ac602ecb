# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet: pooled features, LARS with batches of 4096 (SimSiam).

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/lars_coslr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(frozen_stages=4))
data = dict(samples_per_gpu=512, workers_per_gpu=8)
auto_scale_lr = dict(enable=False, base_batch_size=4096)
