# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation of MAE's ViT-B/16 on ImageNet as in the paper (https://arxiv.org/abs/2111.06377, table 10).

Its class token through a batch norm without factors; LARS of rate 0.1 for 256 images, batch 16384.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 2048 images each.
Known:    not trained with mmssl yet; the paper has 68.0 % for 1600 epochs of pre-training.
"""
_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/lars_coslr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(
    type='Classification',
    backbone=dict(type='MIMVisionTransformer', arch='b', patch_size=16, final_norm=True, finetune=False),
    head=dict(type='MAELinprobeHead', embed_dim=768, num_classes=1000))

data = dict(samples_per_gpu=2048, workers_per_gpu=8)

optimizer = dict(lr=6.4)

lr_config = dict(
    policy='StepFixCosineAnnealing',
    warmup='linear',
    warmup_iters=10,
    warmup_ratio=1e-4,
    warmup_by_epoch=True,
    by_epoch=False)
