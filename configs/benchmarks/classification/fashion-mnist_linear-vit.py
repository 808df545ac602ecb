# Copyright (c) mmssl contributors. All rights reserved.
"""Linear probe of the small ViT of configs/demo/mae_fashion-mnist.py on Fashion-MNIST.

Command:  GPUS=1 tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    'fashion-mnist.py',
    '_base_/schedules/sgd_coslr-100e.py',
    '../../selfsup/_base_/default_runtime.py',
]

model = dict(
    type='Classification',
    backbone=dict(
        type='MIMVisionTransformer',
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=28,
        patch_size=4,
        in_channels=1,
        finetune=False),
    head=dict(type='MAELinprobeHead', embed_dim=128, num_classes=10))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=28, scale=(0.6, 1.), interpolation='bicubic'),
        dict(type='RandomHorizontalFlip'),
    ]))

optimizer = dict(lr=0.1, weight_decay=0.)
runner = dict(max_epochs=10)
evaluation = dict(interval=5, topk=(1, 5))
amp = dict(dtype='bfloat16')
