# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation of MoCo v3's ViT-S/16 on ImageNet, batch 1024.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 128 images each.
Known:    not trained with mmssl yet; MMSelfSup published 73.19 % for 300 epochs of pre-training.
"""
_base_ = [
    '../_base_/models/vit-small-p16.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/sgd_coslr-100e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

data = dict(samples_per_gpu=128)

optimizer = dict(lr=12., weight_decay=0.)
auto_scale_lr = dict(enable=False, base_batch_size=1024)
runner = dict(max_epochs=90)
