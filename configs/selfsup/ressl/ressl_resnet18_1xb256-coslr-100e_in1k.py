# Copyright (c) mmssl contributors. All rights reserved.
"""ReSSL with a ResNet-18 on one GPU, 100 epochs of ImageNet, batch 256.

Command:  python tools/train.py configs/selfsup/ressl/ressl_resnet18_1xb256-coslr-100e_in1k.py
Hardware: one GPU.
Known:    not trained with mmssl yet. SplitBN takes the place of shuffling images between GPUs.
"""
_base_ = 'ressl_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(backbone=dict(depth=18, norm_cfg=dict(type='SplitBN', num_splits=8)), neck=dict(channels=[1024, 512]))
data = dict(samples_per_gpu=256, workers_per_gpu=8)
runner = dict(max_epochs=100)
