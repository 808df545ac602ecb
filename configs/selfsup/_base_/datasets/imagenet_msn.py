# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in MSN's views: a whole one and one to be masked of 224 pixels, and ten of 96."""
_base_ = './imagenet.py'

dataset_type = 'MultiViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

color_pipeline = [
    dict(type='RandomHorizontalFlip'),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
        p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]
if not prefetch:
    color_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
train_pipeline1 = [dict(type='RandomResizedCrop', size=224, scale=(0.3, 1.)), *color_pipeline]
train_pipeline2 = [dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.3)), *color_pipeline]

data = dict(
    train=dict(type=dataset_type, num_views=[2, 10], pipelines=[train_pipeline1, train_pipeline2], prefetch=prefetch))
