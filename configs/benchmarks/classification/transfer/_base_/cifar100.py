# Copyright (c) mmssl contributors. All rights reserved.
"""CIFAR-100, enlarged to 224 pixels."""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
data = dict(
    samples_per_gpu=256,
    workers_per_gpu=4,
    train=dict(
        type='SingleViewDataset',
        data_source=dict(type='CIFAR100', data_prefix='data/cifar100'),
        pipeline=[
            dict(type='RandomResizedCrop', size=224, scale=(0.6, 1.), interpolation='bicubic'),
            dict(type='RandomHorizontalFlip'),
        ],
        prefetch=True),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(type='CIFAR100', data_prefix='data/cifar100', test_mode=True),
        pipeline=[dict(type='Resize', size=224, interpolation='bicubic')],
        prefetch=True))
