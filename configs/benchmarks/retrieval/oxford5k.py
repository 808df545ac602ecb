# Copyright (c) mmssl contributors. All rights reserved.
"""Oxford buildings: images anywhere in data/oxford5k, ground truth in its folder groundtruth.

The tool resizes each image to its --image-size and --scales before the pipeline; images of different sizes do not fit
into one batch, so that it is of one image. A section data.whitening, of images of something else, has PCA whitening
learned on it.
"""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
single = dict(type='SingleViewDataset', pipeline=[], prefetch=True)
source = dict(type='Oxford5k', data_prefix='data/oxford5k')
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=4,
    database=dict(single, data_source=source),
    query=dict(single, data_source=dict(source, queries=True)))
