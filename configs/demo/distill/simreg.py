# Copyright (c) mmssl contributors. All rights reserved.
"""SimReg: the student regresses the features of its teacher, from weak views that both see."""
_base_ = '_base_.py'

model = dict(
    type='SimReg',
    neck=dict(_delete_=True, type='MLPNeck', channels=[256, 128, 256, 256], norm_cfg=dict(type='BN')),
    head=dict(_delete_=True, type='SimRegHead'),
    teacher={{_base_.teacher}})

data = dict(
    train=dict(
        _delete_=True,
        type='SingleViewDataset',
        data_source={{_base_.data_source}},
        pipeline=[dict(type='RandomResizedCrop', size=28, scale=(
            0.4, 1.0)), dict(type='RandomHorizontalFlip')],
        prefetch={{_base_.prefetch}}))
