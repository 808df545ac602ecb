# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v3 (https://arxiv.org/abs/2104.02057) with ViT-S/16, 300 epochs of ImageNet, batch 4096 in half precision.

Command:  tools/dist_train.sh configs/selfsup/mocov3/mocov3_vit-small-p16_32xb128-fp16-coslr-300e_in1k-224.py 8
Hardware: 32 GPUs with 128 images each, here as four nodes: NNODES=4 NODE_RANK=0..3 MASTER_ADDR=...
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 73.19 % linear evaluation on
          ImageNet.
"""
_base_ = [
    '../_base_/models/mocov3_vit-small-p16.py',
    '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

custom_hooks = [dict(type='MomentumUpdateHook')]

fp16 = dict(loss_scale='dynamic')
auto_scale_lr = dict(enable=False, base_batch_size=4096)
