# Copyright (c) mmssl contributors. All rights reserved.
"""Places205: crops of 224 pixels, and flips."""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='Resize', size=256),
    dict(type='CenterCrop', size=256),
    dict(type='RandomCrop', size=224),
    dict(type='RandomHorizontalFlip'),
]
test_pipeline = [
    dict(type='Resize', size=256),
    dict(type='CenterCrop', size=224),
]

data = dict(
    samples_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='SingleViewDataset',
        data_source=dict(
            type='ImageNet',
            data_prefix='data/Places205/data/vision/torralba/deeplearning/images256/',
            ann_file='data/Places205/trainvalsplit_places205/train_places205.csv'),
        pipeline=train_pipeline,
        prefetch=prefetch),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(
            type='ImageNet',
            data_prefix='data/Places205/data/vision/torralba/deeplearning/images256/',
            ann_file='data/Places205/trainvalsplit_places205/val_places205.csv'),
        pipeline=test_pipeline,
        prefetch=prefetch))
evaluation = dict(interval=10, topk=(1, 5))
