# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the five convolutions of colorization's AlexNet, as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The network sees L of images in Lab alone.
"""
_base_ = 'alexnet-rotnet_mhead_linear-8xb32-steplr-28e_in1k.py'

model = dict(backbone=dict(variant='colorization'), head=dict(map_sizes=[54, 26, 12, 12, 12]))

# L from -50 to 50, as the published weights take it
img_norm_cfg = dict(mean=[0.5, 128 / 255, 128 / 255], std=[0.01, 1 / 255, 1 / 255])
train_pipeline = [
    dict(type='Resize', size=256),
    dict(type='RandomCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='ToLab'),
]
test_pipeline = [
    dict(type='Resize', size=256),
    dict(type='CenterCrop', size=224),
    dict(type='ToLab'),
]
data = dict(train=dict(pipeline=train_pipeline), val=dict(pipeline=test_pipeline))
