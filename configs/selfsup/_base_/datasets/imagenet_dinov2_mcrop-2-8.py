# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in two crops of 224 pixels, blurred always and seldom, and eight of 96: those of DINO at other scales."""
_base_ = './imagenet.py'

dataset_type = 'MultiViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

color_pipeline = [
    dict(type='RandomHorizontalFlip'),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
        p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
train_pipeline1 = [
    dict(type='RandomResizedCrop', size=224, scale=(0.32, 1.), interpolation=3),
    *color_pipeline,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=1.),
]
train_pipeline2 = [
    dict(type='RandomResizedCrop', size=224, scale=(0.32, 1.), interpolation=3),
    *color_pipeline,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.1),
    dict(type='Solarization', p=0.2),
]
train_pipeline3 = [
    dict(type='RandomResizedCrop', size=96, scale=(0.05, 0.32), interpolation=3),
    *color_pipeline,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]
if not prefetch:
    format_pipeline = [dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]
    train_pipeline1.extend(format_pipeline)
    train_pipeline2.extend(format_pipeline)
    train_pipeline3.extend(format_pipeline)

data = dict(
    train=dict(
        type=dataset_type,
        num_views=[1, 1, 8],
        pipelines=[train_pipeline1, train_pipeline2, train_pipeline3],
        prefetch=prefetch))
