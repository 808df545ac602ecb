# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR (https://arxiv.org/abs/2002.05709), 200 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py 8
Hardware: 16 GPUs with 256 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/simclr.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=256)
auto_scale_lr = dict(enable=False, base_batch_size=4096)
