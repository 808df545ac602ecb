# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet, each image in one of four rotations."""
_base_ = './imagenet.py'

dataset_type = 'SampleDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    # behind the crop: of an image that is turned before, black bars would tell the angle
    dict(type='RandomAngle', num_angles=4),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
