# Copyright (c) mmssl contributors. All rights reserved.
"""CIFAR-10: shifts of up to 4 pixels, and flips."""
img_norm_cfg = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.201])
# workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomCrop', size=32, padding=4),
    dict(type='RandomHorizontalFlip'),
]
test_pipeline = []

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    train=dict(
        type='SingleViewDataset',
        data_source=dict(type='CIFAR10', data_prefix='data/cifar10'),
        pipeline=train_pipeline,
        prefetch=prefetch),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(type='CIFAR10', data_prefix='data/cifar10', test_mode=True),
        pipeline=test_pipeline,
        prefetch=prefetch))
evaluation = dict(interval=10, topk=(1, 5))
