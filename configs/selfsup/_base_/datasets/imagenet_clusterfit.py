# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in one view, with the labels that tools/cluster_features.py has written."""
_base_ = './imagenet.py'

dataset_type = 'SingleViewDataset'
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# True: workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomResizedCrop', size=224),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    dict(type='RandomHorizontalFlip'),
]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])

data = dict(
    train=dict(
        type=dataset_type,
        data_source=dict(labels='work_dirs/clusterfit/train_labels.npy'),
        pipeline=train_pipeline,
        prefetch=prefetch))
