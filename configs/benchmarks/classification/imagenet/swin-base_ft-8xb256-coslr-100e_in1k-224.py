# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of SimMIM's Swin-B on ImageNet at 224 pixels, batch 2048.

The windows are of 7, those of the pre-training at 192 pixels of 6: tables of relative positions are interpolated.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 256 images each, float16.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/swin-base_ft.py',
    '../_base_/datasets/imagenet_randaug.py',
    '../_base_/schedules/adamw_coslr-100e_swin.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(img_size=224, stage_cfgs=dict(block_cfgs=dict(window_size=7))))
data = dict(samples_per_gpu=256)
auto_scale_lr = dict(enable=False, base_batch_size=2048)
