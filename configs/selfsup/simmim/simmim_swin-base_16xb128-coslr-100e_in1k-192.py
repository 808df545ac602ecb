# Copyright (c) mmssl contributors. All rights reserved.
"""SimMIM (https://arxiv.org/abs/2111.09886), Swin-B at 192 pixels, 100 epochs of ImageNet, batch 2048, half precision.

Command:  tools/dist_train.sh configs/selfsup/simmim/simmim_swin-base_16xb128-coslr-100e_in1k-192.py 8
Hardware: 16 GPUs with 128 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; MMSelfSup published 82.9 % of fine-tuning on ImageNet for 100 epochs.
"""
_base_ = [
    '../_base_/models/simmim_swin-base.py',
    '../_base_/datasets/imagenet_simmim.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(
    lr=8e-4,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    eps=1e-8,
    paramwise_options={
        'norm': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.),
        'absolute_pos_embed': dict(weight_decay=0.),
        'relative_position_bias_table': dict(weight_decay=0.)
    })
optimizer_config = dict(grad_clip=dict(max_norm=5.0))
auto_scale_lr = dict(enable=False, base_batch_size=2048)

lr_config = dict(min_lr=4e-5, warmup_iters=10, warmup_ratio=1e-6 / 2e-4)

runner = dict(max_epochs=100)

fp16 = dict(loss_scale='dynamic')
