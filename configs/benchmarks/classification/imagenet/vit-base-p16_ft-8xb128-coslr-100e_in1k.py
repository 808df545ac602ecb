# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of MAE's ViT-B/16 on ImageNet, batch 1024.

As published, the rate is that of the paper, 1e-3 for 256 images (https://arxiv.org/abs/2111.06377, table 9), and the
layer decay that of its authors' code, which goes with half of this rate; the paper has 0.75.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 128 images each.
Known:    not trained with mmssl yet; MMSelfSup published 83.1 % for 400 epochs of pre-training.
"""
_base_ = [
    '../_base_/models/vit-base-p16_ft.py',
    '../_base_/datasets/imagenet_randaug.py',
    '../_base_/schedules/adamw_coslr-100e_vit.py',
    '../../../selfsup/_base_/default_runtime.py',
]

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [
    dict(
        type='RandomAug',
        input_size=224,
        color_jitter=None,
        auto_augment='rand-m9-mstd0.5-inc1',
        interpolation='bicubic',
        re_prob=0.25,
        re_mode='pixel',
        re_count=1,
        **img_norm_cfg)
]
data = dict(train=dict(pipeline=train_pipeline))
auto_scale_lr = dict(enable=False, base_batch_size=1024)
