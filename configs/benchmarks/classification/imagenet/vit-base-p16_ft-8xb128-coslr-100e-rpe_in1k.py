# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of CAE's ViT-B/16 on ImageNet, batch 1024: relative positions and layer scale, as in the pre-training.

As published, the factors of the layer scale (gamma_1, gamma_2) decay; `bias` is in the name of the table of relative
positions too, which therefore does not.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 128 images each.
Known:    not trained with mmssl yet; MMSelfSup published 83.2 % for 300 epochs of pre-training.
"""
_base_ = [
    '../_base_/models/vit-base-p16_ft.py',
    '../_base_/datasets/imagenet_randaug.py',
    '../_base_/schedules/adamw_coslr-100e_vit.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(use_window=True, init_values=0.1, qkv_bias=False))

optimizer = dict(lr=8e-3)
auto_scale_lr = dict(enable=False, base_batch_size=1024)
