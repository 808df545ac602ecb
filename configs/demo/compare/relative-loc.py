# Copyright (c) mmssl contributors. All rights reserved.
"""Relative location on digits: patches of 16 pixels out of images of 64."""
_base_ = '_base_.py'

model = dict(
    type='RelativeLoc',
    neck=dict(_delete_=True, type='RelativeLocNeck', in_channels=128, out_channels=256, norm_cfg=dict(type='BN1d')),
    head=dict(_delete_=True, type='ClsHead', with_avg_pool=False, in_channels=256, num_classes=8))
data = dict(
    train=dict(
        _delete_=True,
        type='RelativeLocDataset',
        data_source={{_base_.data_source}},
        pipeline=[
            dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
            dict(type='RandomResizedCrop', size=64, scale=(0.6, 1.0)),
            dict(
                type='RandomAppliedTrans',
                transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)],
                p=0.8),
        ],
        format_pipeline=[],
        prefetch={{_base_.prefetch}}))
# as in the recipe; with AdamW the features serve the task alone after some 20 epochs
optimizer = dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3)
