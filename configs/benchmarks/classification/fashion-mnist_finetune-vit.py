# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of the small ViT of configs/demo/mae_fashion-mnist.py on Fashion-MNIST.

Command:  GPUS=1 tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    'fashion-mnist.py',
    '_base_/models/vit-base-p16_ft.py',
    '_base_/schedules/adamw_coslr-100e_vit.py',
    '../../selfsup/_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=28,
        patch_size=4,
        in_channels=1),
    head=dict(embed_dim=128, num_classes=10),
    train_cfg=dict(
        augments=[dict(type='BatchMixup', alpha=0.8, prob=0.5),
                  dict(type='BatchCutMix', alpha=1.0, prob=0.5)]))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=28, scale=(0.6, 1.), interpolation='bicubic'),
        dict(type='RandomHorizontalFlip'),
    ]))

optimizer = dict(lr=2e-3, layer_decay=0.75)
lr_config = dict(warmup_iters=2)
runner = dict(max_epochs=20)
evaluation = dict(interval=5, topk=(1, 5))
