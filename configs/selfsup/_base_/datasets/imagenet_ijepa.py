# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in one crop of each image, and nothing else: I-JEPA draws its masks in the model."""
_base_ = './imagenet.py'

dataset_type = 'SingleViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [dict(type='RandomResizedCrop', size=224, scale=(0.3, 1.0))]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
