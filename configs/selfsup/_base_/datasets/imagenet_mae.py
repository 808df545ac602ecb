# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in one view, cropped and flipped: MAE draws its masks in the encoder."""
_base_ = './imagenet.py'

dataset_type = 'SingleViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0), interpolation=3),
    dict(type='RandomHorizontalFlip'),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(
    samples_per_gpu=512, workers_per_gpu=8, train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
