# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA (https://arxiv.org/abs/2301.08243) with ViT-H/16 on 448 pixels, 300 epochs of ImageNet, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/ijepa/ijepa_vit-huge-p16_128xb16-coslr-300e_in1k-448.py 8
Hardware: 128 GPUs with 16 images each, here as sixteen nodes: NNODES=16 NODE_RANK=0..15 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors published such a network.
"""
_base_ = 'ijepa_vit-huge-p14_16xb128-coslr-300e_in1k.py'

model = dict(backbone=dict(img_size=448, patch_size=16))

data = dict(samples_per_gpu=16, train=dict(pipeline=[dict(type='RandomResizedCrop', size=448, scale=(0.3, 1.0))]))
