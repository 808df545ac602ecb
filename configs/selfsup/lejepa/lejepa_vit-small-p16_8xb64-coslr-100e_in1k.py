# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA (https://arxiv.org/abs/2511.08544) with ViT-S/16, 100 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/lejepa/lejepa_vit-small-p16_8xb64-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/lejepa_vit-small-p16.py',
    '../_base_/datasets/imagenet_lejepa.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64)

optimizer = dict(lr=5e-4, weight_decay=0.05)
auto_scale_lr = dict(enable=False, base_batch_size=512)
lr_config = dict(policy='StepFixCosineAnnealing', warmup_iters=10, min_lr=5e-7)
amp = dict(dtype='bfloat16')

runner = dict(max_epochs=100)
