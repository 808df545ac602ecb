# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in nine shuffled patches an image."""
_base_ = './imagenet.py'

dataset_type = 'SampleDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='Resize', size=256),
    dict(type='RandomHorizontalFlip'),
    dict(type='RandomCrop', size=255),
    dict(type='RandomGrayscale', p=0.66),
    # nine cells of 85 pixels, with a patch of 64 in each
    dict(type='ImageToPatches', num_patches=9),
    dict(type='PermutePatches', permutations=2000),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
