# Copyright (c) mmssl contributors. All rights reserved.
"""Digits in one view of each image."""
_base_ = '_base_.py'

data = dict(
    train=dict(
        _delete_=True,
        type='SingleViewDataset',
        data_source={{_base_.data_source}},
        pipeline={{_base_.train_pipeline}},
        prefetch={{_base_.prefetch}}))
