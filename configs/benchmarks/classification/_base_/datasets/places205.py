# Copyright (c) mmssl contributors. All rights reserved.
"""Places205: crops of 224 pixels, and flips."""
_base_ = './imagenet.py'

train_pipeline = [
    dict(type='Resize', size=256),
    dict(type='CenterCrop', size=256),
    dict(type='RandomCrop', size=224),
    dict(type='RandomHorizontalFlip'),
]

data = dict(
    train=dict(
        pipeline=train_pipeline,
        data_source=dict(
            data_prefix='data/Places205/data/vision/torralba/deeplearning/images256/',
            ann_file='data/Places205/trainvalsplit_places205/train_places205.csv')),
    val=dict(
        data_source=dict(
            data_prefix='data/Places205/data/vision/torralba/deeplearning/images256/',
            ann_file='data/Places205/trainvalsplit_places205/val_places205.csv')))
