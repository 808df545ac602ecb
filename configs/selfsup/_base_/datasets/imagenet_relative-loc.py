# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in nine patches an image."""
_base_ = './imagenet.py'

dataset_type = 'RelativeLocDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

# the image that is cut up: nine cells of 85 pixels, with a patch of 64 in each
train_pipeline = [
    dict(type='Resize', size=292),
    dict(type='RandomCrop', size=255),
    dict(type='RandomGrayscale', p=0.66),
]
# what is done with each patch
format_pipeline = []
if not prefetch:
    format_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(
    samples_per_gpu=64,
    train=dict(type=dataset_type, pipeline=train_pipeline, format_pipeline=format_pipeline, prefetch=prefetch))
