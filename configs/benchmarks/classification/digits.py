# Copyright (c) mmssl contributors. All rights reserved.
"""Data for evaluations: the hand-written digits that scikit-learn carries, at the size of configs/demo."""
img_norm_cfg = dict(mean=[0.3], std=[0.35])
single = dict(type='SingleViewDataset', pipeline=[dict(type='Resize', size=32)], prefetch=True)
source = dict(type='Digits', color_type='grayscale')
data = dict(
    samples_per_gpu=256,
    workers_per_gpu=0,
    train=dict(single, data_source=source),
    val=dict(single, data_source=dict(source, test_mode=True)))

# for training classifiers on augmented views: linear_sweep.py --views N
augmented_pipeline = [dict(type='RandomResizedCrop', size=32, scale=(0.8, 1.0))]
