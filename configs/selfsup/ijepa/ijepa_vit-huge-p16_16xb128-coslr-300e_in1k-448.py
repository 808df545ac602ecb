# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA (https://arxiv.org/abs/2301.08243) with ViT-H/16 on 448 pixels, 300 epochs of ImageNet, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/ijepa/ijepa_vit-huge-p16_16xb128-coslr-300e_in1k-448.py 8
Hardware: 16 GPUs of 80 GB with 128 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
          model.backbone.with_cp=True saves memory.
Known:    not trained with mmssl yet; the authors published such a network.
"""
_base_ = 'ijepa_vit-huge-p14_16xb128-coslr-300e_in1k.py'

model = dict(backbone=dict(img_size=448, patch_size=16))

data = dict(train=dict(pipeline=[dict(type='RandomResizedCrop', size=448, scale=(0.3, 1.0))]))
