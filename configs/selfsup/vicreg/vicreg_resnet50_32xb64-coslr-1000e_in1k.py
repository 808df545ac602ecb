# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg (https://arxiv.org/abs/2105.04906), 1000 epochs of ImageNet, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/vicreg/vicreg_resnet50_32xb64-coslr-1000e_in1k.py 8
Hardware: 32 GPUs with 64 images each, here as four nodes: NNODES=4 NODE_RANK=0..3 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors published 73.2 % linear evaluation on ImageNet for such a training.
"""
_base_ = [
    '../_base_/models/vicreg.py',
    '../_base_/datasets/imagenet_byol.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64)

# 0.2 for each 256 images
optimizer = dict(lr=1.6)
auto_scale_lr = dict(enable=False, base_batch_size=2048)
lr_config = dict(min_lr=0.0016, by_epoch=False)

runner = dict(max_epochs=1000)
