# Copyright (c) mmssl contributors. All rights reserved.
"""A static augmented data set of scikit-learn's digits, at the size of configs/demo.

Written by  tools/data_converters/sample_augmentations.py configs/benchmarks/classification/digits.py \
                data/static/digits --config configs/demo/simclr_digits.py
"""
img_norm_cfg = dict(mean=[0.3], std=[0.35])
static = dict(type='StaticViews', data_prefix='data/static/digits', color_type='grayscale')
single = dict(type='SingleViewDataset', pipeline=[dict(type='Resize', size=32)], prefetch=True)
data = dict(
    samples_per_gpu=256,
    workers_per_gpu=0,
    original=dict(single, data_source=static),
    view1=dict(single, data_source=dict(static, view=1)),
    view2=dict(single, data_source=dict(static, view=2)))
