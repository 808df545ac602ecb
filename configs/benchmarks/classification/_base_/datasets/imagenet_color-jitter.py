# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet: crops, flips, and changes of colour and lighting."""
_base_ = './imagenet.py'

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# Lighting works on floats, so workers normalise
prefetch = False

train_pipeline = [
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0),
    dict(type='ToTensor'),
    dict(type='Lighting'),
    dict(type='Normalize', **img_norm_cfg),
]
test_pipeline = [
    dict(type='Resize', size=256),
    dict(type='CenterCrop', size=224),
    dict(type='ToTensor'),
    dict(type='Normalize', **img_norm_cfg),
]

data = dict(train=dict(pipeline=train_pipeline, prefetch=prefetch), val=dict(pipeline=test_pipeline, prefetch=prefetch))
