# Copyright (c) mmssl contributors. All rights reserved.
"""Any folder of class folders: each image is a query, and those of its class are to be found."""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=4,
    database=dict(
        type='SingleViewDataset',
        data_source=dict(type='ImageNet', data_prefix='data/folder'),
        pipeline=[],
        prefetch=True))
