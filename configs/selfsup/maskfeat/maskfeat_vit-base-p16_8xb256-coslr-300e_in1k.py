# Copyright (c) mmssl contributors. All rights reserved.
"""MaskFeat (https://arxiv.org/abs/2112.09133) with ViT-B/16, 300 epochs of ImageNet, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/maskfeat/maskfeat_vit-base-p16_8xb256-coslr-300e_in1k.py 8
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/maskfeat_vit-base-p16.py',
    '../_base_/datasets/imagenet_maskfeat.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(
    lr=1.6e-3,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    paramwise_options={
        'ln': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.)
    })
optimizer_config = dict(grad_clip=dict(max_norm=0.02))
auto_scale_lr = dict(enable=False, base_batch_size=2048)

lr_config = dict(min_lr=1e-6, warmup_iters=30, warmup_ratio=1e-6)
