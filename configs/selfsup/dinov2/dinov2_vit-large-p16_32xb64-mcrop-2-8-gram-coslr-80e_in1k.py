# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2 with Gram anchoring (DINOv3, https://arxiv.org/abs/2508.10104): a second stage that mends features of patches.

Command:  tools/dist_train.sh configs/selfsup/dinov2/dinov2_vit-large-p16_32xb64-mcrop-2-8-gram-coslr-80e_in1k.py 8
Hardware: 32 GPUs with 64 images each, here as four nodes: NNODES=4 NODE_RANK=0..3 MASTER_ADDR=...
Known:    not trained with mmssl yet, and not published for this network: the authors had it for their network of 7
          billion weights, whose patches lost detail in a very long training, and not for ViT-L or smaller ones
          (facebookresearch/dinov3, issue 122). It begins with the end of the first stage, as an example of how to.
"""
_base_ = 'dinov2_vit-large-p16_32xb64-mcrop-2-8-coslr-200e_in1k.py'

load_from = 'work_dirs/dinov2_vit-large-p16_32xb64-mcrop-2-8-coslr-200e_in1k/latest.pth'

# three copies of the teacher, every 10,000 iterations, and temperatures and weight decay that stay, as published
model = dict(
    base_momentum=0.999,
    head=dict(teacher_temp=0.07, patch_teacher_temp=0.07),
    gram=dict(weight=2., interval=10000, updates=3))

optimizer = dict(lr=5.657e-4, weight_decay=0.04)
lr_config = dict(warmup_iters=1)
optimizer_config = dict(frozen_layers_cfg=dict(_delete_=True))

custom_hooks = [dict(type='MomentumUpdateHook', end_momentum=0.999)]

runner = dict(max_epochs=80)
