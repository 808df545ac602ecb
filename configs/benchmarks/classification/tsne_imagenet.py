# Copyright (c) mmssl contributors. All rights reserved.
"""Data of tools/analysis_tools/visualize_tsne.py: the images whose features are drawn."""
prefetch = True
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])

# Images leave as uint8 and are normalised on the device; with prefetch = False, ToTensor and Normalize would follow.
pipeline = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]

data = dict(
    samples_per_gpu=8,
    workers_per_gpu=4,
    extract=dict(
        type='SingleViewDataset',
        data_source=dict(type='ImageNet', data_prefix='data/imagenet/val', ann_file='data/imagenet/meta/val.txt'),
        pipeline=pipeline,
        prefetch=prefetch))
