# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in one view and the mask of MaskFeat: blocks that hide 40% of 14 x 14 patches."""
_base_ = './imagenet.py'

dataset_type = 'SingleViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(
        type='RandomResizedCropAndInterpolationWithTwoPic',
        size=224,
        scale=(0.5, 1.0),
        ratio=(0.75, 1.3333),
        interpolation='bicubic'),
    dict(type='RandomHorizontalFlip'),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
# behind the normalisation: it leaves a tuple of image and mask
train_pipeline.append(dict(type='MaskFeatMaskGenerator', mask_ratio=0.4))

data = dict(
    samples_per_gpu=256, workers_per_gpu=8, train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
