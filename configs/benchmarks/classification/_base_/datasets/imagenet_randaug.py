# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet for fine-tuning: RandAugment and random erasing, by timm on Pillow images."""
_base_ = './imagenet.py'

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# RandomAug ends with a normalised tensor
prefetch = False

train_pipeline = [
    dict(
        type='RandomAug',
        input_size=224,
        color_jitter=0.4,  # has no effect beside auto_augment
        auto_augment='rand-m9-mstd0.5-inc1',
        interpolation='bicubic',
        re_prob=0.25,
        re_mode='pixel',
        re_count=1,
        **img_norm_cfg)
]
test_pipeline = [
    dict(type='Resize', size=256, interpolation='bicubic'),
    dict(type='CenterCrop', size=224),
    dict(type='ToTensor'),
    dict(type='Normalize', **img_norm_cfg),
]

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=32,
    drop_last=False,
    train=dict(pipeline=train_pipeline, prefetch=prefetch),
    val=dict(pipeline=test_pipeline, prefetch=prefetch))
