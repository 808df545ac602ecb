# Copyright (c) mmssl contributors. All rights reserved.
"""Data of tools/benchmarks/classification/knn_imagenet: the bank (train) and what is classified (val)."""
prefetch = True
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])

# Images leave as uint8 and are normalised on the device; with prefetch = False, ToTensor and Normalize would follow.
pipeline = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]

data = dict(
    samples_per_gpu=256,
    workers_per_gpu=8,
    train=dict(
        type='SingleViewDataset',
        data_source=dict(type='ImageNet', data_prefix='data/imagenet/train', ann_file='data/imagenet/meta/train.txt'),
        pipeline=pipeline,
        prefetch=prefetch),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(type='ImageNet', data_prefix='data/imagenet/val', ann_file='data/imagenet/meta/val.txt'),
        pipeline=pipeline,
        prefetch=prefetch))

# for training classifiers on augmented views: linear_sweep.py --views N
augmented_pipeline = [dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip')]
