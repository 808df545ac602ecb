# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in a crop of each image and nine shuffled patches of another, as PIRL compares them.

The colours of the ten pieces are changed one by one.
"""
_base_ = './imagenet.py'

dataset_type = 'SampleDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    # patches of 64 pixels in nine cells of 85
    dict(type='ImageAndPatches', size=224, scale=(0.08, 1.), patch_size=255, patch_scale=(0.6, 1.), num_patches=9),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    dict(type='RandomPhotometric', p=0.66),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomHorizontalFlip'),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
