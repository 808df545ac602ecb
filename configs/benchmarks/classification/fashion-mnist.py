# Copyright (c) mmssl contributors. All rights reserved.
"""Data for evaluations: Fashion-MNIST, 60,000 + 10,000 images (Debian's package dataset-fashion-mnist)."""
img_norm_cfg = dict(mean=[0.286], std=[0.353])
single = dict(type='SingleViewDataset', pipeline=[], prefetch=True)
source = dict(type='FashionMNIST', color_type='grayscale')
data = dict(
    samples_per_gpu=256,
    workers_per_gpu=0,
    train=dict(single, data_source=source),
    val=dict(single, data_source=dict(source, test_mode=True)))

# for training classifiers on augmented views: linear_sweep.py --views N
augmented_pipeline = [dict(type='RandomResizedCrop', size=28, scale=(0.6, 1.0)), dict(type='RandomHorizontalFlip')]
