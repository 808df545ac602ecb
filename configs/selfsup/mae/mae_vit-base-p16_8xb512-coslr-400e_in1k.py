# Copyright (c) mmssl contributors. All rights reserved.
"""MAE (https://arxiv.org/abs/2111.06377) with ViT-B/16, 400 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/mae/mae_vit-base-p16_8xb512-coslr-400e_in1k.py 8
Hardware: 8 GPUs with 512 images each.
Known:    not trained with mmssl yet; MMSelfSup published 83.1 % of fine-tuning on ImageNet for 400 epochs.
"""
_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(
    lr=2.4e-3,
    betas=(0.9, 0.95),
    weight_decay=0.05,
    paramwise_options={
        'ln': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.),
        'pos_embed': dict(weight_decay=0.),
        'mask_token': dict(weight_decay=0.),
        'cls_token': dict(weight_decay=0.)
    })
auto_scale_lr = dict(enable=False, base_batch_size=4096)

# the cosine begins where the warm-up ends
lr_config = dict(policy='StepFixCosineAnnealing')

runner = dict(max_epochs=400)
