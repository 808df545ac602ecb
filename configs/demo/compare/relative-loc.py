# Copyright (c) mmssl contributors. All rights reserved.
"""Relative location on digits: patches of an image of 72 pixels."""
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
        pipeline=[dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
                  dict(type='Resize', size=64)],
        format_pipeline=[],
        prefetch={{_base_.prefetch}}))
# the last stage serves the task itself; the one before it is the more general one, as the papers found
demo = dict(layer='stage3')
