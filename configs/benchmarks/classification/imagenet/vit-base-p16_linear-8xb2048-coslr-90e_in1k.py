# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation of MAE's ViT-B/16 on ImageNet as in the paper (https://arxiv.org/abs/2111.06377, table 10).

Its class token through a batch norm without factors; LARS of rate 0.1 for 256 images, batch 16384.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 2048 images each.
Known:    not trained with mmssl yet; the paper has 68.0 % for 1600 epochs of pre-training.
"""
_base_ = [
    '../_base_/models/vit-base-p16_linprobe.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/lars_coslr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

data = dict(samples_per_gpu=2048, workers_per_gpu=8)

optimizer = dict(lr=6.4)
auto_scale_lr = dict(enable=False, base_batch_size=16384)

lr_config = dict(
    policy='StepFixCosineAnnealing',
    warmup='linear',
    warmup_iters=10,
    warmup_ratio=1e-4,
    warmup_by_epoch=True,
    by_epoch=False)
