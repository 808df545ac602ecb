# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw on digits: 2 x 2 patches of 15 pixels out of images of 40, in one of all 24 orders."""
_base_ = '_base_.py'

# a layer more than in the recipe on all patches together serves the task, so that the backbone need not
layer = dict(type='MLPNeck', channels=[256], norm_cfg=dict(type='BN'), with_last_norm=True, with_last_act=True)
model = dict(
    type='Jigsaw',
    neck=dict(_delete_=True, type='ChainNeck', necks=[layer, dict(type='ConcatTowers', num_towers=4), layer]),
    head=dict(_delete_=True, type='ClsHead', in_channels=None, num_classes=24))
data = dict(
    train=dict(
        _delete_=True,
        type='SampleDataset',
        data_source={{_base_.data_source}},
        pipeline=[
            dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
            dict(type='RandomResizedCrop', size=40, scale=(0.6, 1.0)),
            dict(
                type='RandomAppliedTrans',
                transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)],
                p=0.8),
            dict(type='ImageToPatches', num_patches=4),
            dict(type='PermutePatches', permutations=24, num_patches=4),
        ],
        prefetch={{_base_.prefetch}}))
# as for relative location: with AdamW the features serve the task alone
optimizer = dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3)
# the stages behind it serve the task alone
demo = dict(layer='stage2')
