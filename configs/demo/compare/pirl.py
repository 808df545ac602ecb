# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL on digits: images of 32 pixels, and patches of 12 out of crops of 48."""
_base_ = '_base_.py'

model = dict(
    type='PIRL',
    neg_num=512,
    neck=dict(_delete_=True, type='MLPNeck', channels=[64]),
    patch_neck=dict(
        type='ChainNeck',
        necks=[
            dict(type='MLPNeck', channels=[64]),
            dict(type='ConcatTowers', num_towers=9),
            dict(type='MLPNeck', channels=[64])
        ]),
    # the loss of the variants with MLP projectors: NCE with the constant of the first batch does not learn here
    head=dict(temperature=0.1),
    memory_bank=dict(type='SimpleMemory', feat_dim=64, momentum=0.5))
data = dict(
    train=dict(
        _delete_=True,
        type='SampleDataset',
        data_source={{_base_.data_source}},
        pipeline=[
            dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
            dict(type='ImageAndPatches', size=32, scale=(0.6, 1.), patch_size=48, patch_scale=(0.6, 1.)),
            dict(
                type='RandomAppliedTrans',
                transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)],
                p=0.8),
            dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.5, p=0.5),
        ],
        prefetch={{_base_.prefetch}}))
