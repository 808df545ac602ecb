# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of SimMIM's Swin-B on ImageNet at 192 pixels, batch 2048.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 256 images each, float16.
Known:    not trained with mmssl yet; MMSelfSup published 82.9 % for 100 epochs of pre-training.
"""
_base_ = [
    '../_base_/models/swin-base_ft.py',
    '../_base_/datasets/imagenet_randaug.py',
    '../_base_/schedules/adamw_coslr-100e_swin.py',
    '../../../selfsup/_base_/default_runtime.py',
]

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [
    dict(
        type='RandomAug',
        input_size=192,
        color_jitter=0.4,
        auto_augment='rand-m9-mstd0.5-inc1',
        interpolation='bicubic',
        re_prob=0.25,
        re_mode='pixel',
        re_count=1,
        **img_norm_cfg)
]
test_pipeline = [
    dict(type='Resize', size=219, interpolation='bicubic'),  # 192 * 256 / 224
    dict(type='CenterCrop', size=192),
    dict(type='ToTensor'),
    dict(type='Normalize', **img_norm_cfg),
]
data = dict(samples_per_gpu=256, train=dict(pipeline=train_pipeline), val=dict(pipeline=test_pipeline))
auto_scale_lr = dict(enable=False, base_batch_size=2048)
