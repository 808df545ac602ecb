# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw on digits: patches of 16 pixels out of images of 64, in one of 100 orders."""
_base_ = '_base_.py'

model = dict(
    type='Jigsaw',
    neck=dict(
        _delete_=True,
        type='ChainNeck',
        necks=[
            dict(type='MLPNeck', channels=[64], norm_cfg=dict(type='BN'), with_last_norm=True, with_last_act=True),
            dict(type='ConcatTowers', num_towers=9)
        ]),
    head=dict(_delete_=True, type='ClsHead', in_channels=None, num_classes=100))
data = dict(
    train=dict(
        _delete_=True,
        type='SampleDataset',
        data_source={{_base_.data_source}},
        pipeline=[
            dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
            dict(type='RandomResizedCrop', size=64, scale=(0.6, 1.0)),
            dict(
                type='RandomAppliedTrans',
                transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)],
                p=0.8),
            dict(type='ImageToPatches', num_patches=9),
            dict(type='PermutePatches', permutations=100),
        ],
        prefetch={{_base_.prefetch}}))
# as for relative location: with AdamW the features serve the task alone
optimizer = dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3)
