# Copyright (c) mmssl contributors. All rights reserved.
"""iNaturalist 2018: crops and flips."""
_base_ = './imagenet.py'

data = dict(
    train=dict(
        data_source=dict(
            data_prefix='data/iNaturalist2018/train_val2018', ann_file='data/iNaturalist2018/meta/train.txt')),
    val=dict(
        data_source=dict(
            data_prefix='data/iNaturalist2018/train_val2018', ann_file='data/iNaturalist2018/meta/val.txt')))
