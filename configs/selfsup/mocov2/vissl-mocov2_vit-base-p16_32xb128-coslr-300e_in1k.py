# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v2 with ViT-B/16 as VISSL trains it (vision_transformer/moco/vit_b16), 300 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/mocov2/vissl-mocov2_vit-base-p16_32xb128-coslr-300e_in1k.py 8
Hardware: 32 GPUs with 128 images each, here as 4 nodes: NNODES=4 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

The learning rate rises from 0 to 0.0005 in 30 epochs and falls to 0 along a cosine. VISSL's warm-up begins at 0.000125
on 4 nodes, where its config says 0. The views are SimCLR's. Norms have no weight decay.
"""
_base_ = [
    '../_base_/models/mocov2.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=128)

# DINO's network has the learned positions that VISSL's has
model = dict(
    backbone=dict(_delete_=True, type='DINOViT', arch='base', img_size=224, patch_size=16),
    neck=dict(_delete_=True, type='MLPNeck', channels=[2048, 128], vit_backbone=True))

optimizer = dict(lr=5e-4, weight_decay=0.05, paramwise_options=dict(norm_decay_mult=0.))
optimizer_config = dict(grad_clip=dict(max_norm=1.))
auto_scale_lr = dict(enable=False, base_batch_size=4096)

lr_config = dict(policy='StepFixCosineAnnealing', warmup_iters=30)

fp16 = dict(loss_scale='dynamic')
