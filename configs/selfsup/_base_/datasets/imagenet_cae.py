# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet for CAE: a view, the same in 112 pixels for the tokenizer, and a mask of 75 of 14 x 14 patches.

MMSelfSup leaves out Normalize here and normalises the view in the algorithm. Here both images are normalised like any
other, and the algorithm undoes it for the tokenizer, which takes pixels.
"""
_base_ = './imagenet.py'

dataset_type = 'SingleViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomHorizontalFlip', p=0.5),
    dict(
        type='RandomResizedCropAndInterpolationWithTwoPic',
        size=224,
        second_size=112,
        interpolation='bicubic',
        second_interpolation='lanczos',
        scale=(0.08, 1.0)),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
# behind the normalisation: it leaves a tuple of two images and a mask
train_pipeline.append(
    dict(
        type='BEiTMaskGenerator', input_size=(14, 14), num_masking_patches=75, max_num_patches=None,
        min_num_patches=16))

data = dict(
    samples_per_gpu=128, workers_per_gpu=8, train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
