# Copyright (c) mmssl contributors. All rights reserved.
"""Data for evaluations: any two trees of class folders; tools set their place by --data-root FOLDER."""
_base_ = 'knn_imagenet.py'

data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    train=dict(data_source=dict(data_prefix='data/folder/train', ann_file=None)),
    val=dict(data_source=dict(data_prefix='data/folder/val', ann_file=None)))
