# Copyright (c) mmssl contributors. All rights reserved.
"""A static augmented data set of 224-pixel views; tools set its folder by --data-root.

Written by  tools/data_converters/sample_augmentations.py data/imagenet/train data/static/imagenet-train
"""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
static = dict(type='StaticViews', data_prefix='data/static/imagenet-train')
# views are stored at the size that the network gets
view = dict(type='SingleViewDataset', pipeline=[], prefetch=True)
data = dict(
    samples_per_gpu=128,
    workers_per_gpu=4,
    original=dict(
        view, data_source=static, pipeline=[dict(type='Resize', size=256),
                                            dict(type='CenterCrop', size=224)]),
    view1=dict(view, data_source=dict(static, view=1)),
    view2=dict(view, data_source=dict(static, view=2)))
