# Copyright (c) mmssl contributors. All rights reserved.
"""A static augmented data set of Fashion-MNIST.

Written by  tools/data_converters/sample_augmentations.py configs/benchmarks/classification/fashion-mnist.py \
                data/static/fashion-mnist --config configs/demo/simclr_fashion-mnist.py
"""
img_norm_cfg = dict(mean=[0.286], std=[0.353])
static = dict(type='StaticViews', data_prefix='data/static/fashion-mnist', color_type='grayscale')
single = dict(type='SingleViewDataset', pipeline=[], prefetch=True)
data = dict(
    samples_per_gpu=256,
    workers_per_gpu=0,
    original=dict(single, data_source=static),
    view1=dict(single, data_source=dict(static, view=1)),
    view2=dict(single, data_source=dict(static, view=2)))
