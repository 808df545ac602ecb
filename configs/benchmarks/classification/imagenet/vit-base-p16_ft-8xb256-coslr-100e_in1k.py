# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of MaskFeat's ViT-B/16 on ImageNet, batch 2048.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet.
"""
_base_ = [
    '../_base_/models/vit-base-p16_ft.py',
    '../_base_/datasets/imagenet_randaug.py',
    '../_base_/schedules/adamw_coslr-100e_vit.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(head=dict(type='MaskFeatFinetuneHead'))
data = dict(samples_per_gpu=256)

optimizer = dict(lr=8e-3)
auto_scale_lr = dict(enable=False, base_batch_size=2048)

# the rate is held over an epoch, and the warm-up counted into the cosine
lr_config = dict(
    _delete_=True,
    policy='CosineAnnealing',
    min_lr=1e-6,
    warmup='linear',
    warmup_iters=20,
    warmup_ratio=1e-8,
    warmup_by_epoch=True)
