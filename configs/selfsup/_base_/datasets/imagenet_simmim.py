# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in one view of 192 pixels and the mask of SimMIM: 60% of the squares of 32 pixels."""
_base_ = './imagenet.py'

dataset_type = 'SingleViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomResizedCrop', size=192, scale=(0.67, 1.0), ratio=(3. / 4., 4. / 3.)),
    dict(type='RandomHorizontalFlip'),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
# behind the normalisation: it leaves a tuple of image and mask
train_pipeline.append(
    dict(type='SimMIMMaskGenerator', input_size=192, mask_patch_size=32, model_patch_size=4, mask_ratio=0.6))

data = dict(
    samples_per_gpu=128, workers_per_gpu=8, train=dict(type=dataset_type, pipeline=train_pipeline, prefetch=prefetch))
