# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet's training images, from which each algorithm makes its views."""
data_source = 'ImageNet'

data = dict(
    samples_per_gpu=32,
    workers_per_gpu=4,
    drop_last=True,
    train=dict(
        data_source=dict(
            type=data_source,
            data_prefix='data/imagenet/train',
            ann_file='data/imagenet/meta/train.txt',
        )))
