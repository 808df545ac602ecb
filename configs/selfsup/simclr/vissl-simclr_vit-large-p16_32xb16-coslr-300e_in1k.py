# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with ViT-L/16 as VISSL trains it (vision_transformer/simclr/vit_l16), 300 epochs, batch 512.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_vit-large-p16_32xb16-coslr-300e_in1k.py 8
Hardware: 32 GPUs with 16 images each, here as 4 nodes: NNODES=4 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

The learning rate is 0.000375, which is 0.003 for 4096 images.
"""
_base_ = 'vissl-simclr_vit-base-p16_32xb64-coslr-300e_in1k.py'

data = dict(samples_per_gpu=16)

model = dict(backbone=dict(arch='large'), neck=dict(channels=[4096, 128]))

optimizer = dict(lr=3.75e-4)
auto_scale_lr = dict(base_batch_size=512)
