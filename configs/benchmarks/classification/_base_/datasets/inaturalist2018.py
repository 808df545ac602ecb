# Copyright (c) mmssl contributors. All rights reserved.
"""iNaturalist 2018: crops and flips."""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomResizedCrop', size=224),
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
            data_prefix='data/iNaturalist2018/train_val2018',
            ann_file='data/iNaturalist2018/meta/train.txt'),
        pipeline=train_pipeline,
        prefetch=prefetch),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(
            type='ImageNet',
            data_prefix='data/iNaturalist2018/train_val2018',
            ann_file='data/iNaturalist2018/meta/val.txt'),
        pipeline=test_pipeline,
        prefetch=prefetch))
evaluation = dict(interval=10, topk=(1, 5))
