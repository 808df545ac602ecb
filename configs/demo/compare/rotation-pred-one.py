# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction on digits, each image in one random rotation."""
_base_ = 'rotation-pred.py'

data = dict(
    train=dict(
        type='SampleDataset',
        pipeline=[
            dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
            dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
            dict(
                type='RandomAppliedTrans',
                transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)],
                p=0.8),
            dict(type='RandomAngle'),
        ]))
