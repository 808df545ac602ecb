# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in ReSSL's two views: a weak one for the teacher, and MoCo v2's for the student."""
_base_ = './imagenet_mocov2.py'

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
prefetch = True

weak_pipeline = [dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.)), dict(type='RandomHorizontalFlip')]
if not prefetch:
    weak_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(train=dict(num_views=[1, 1], pipelines=[weak_pipeline, {{_base_.train_pipeline}}], prefetch=prefetch))
