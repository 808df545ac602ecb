# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg on digits: an embedding four times as wide as the backbone's features."""
_base_ = '_base_.py'

model = dict(
    type='VICReg',
    neck=dict(hid_channels=512, out_channels=512, num_layers=3, with_last_bn=False),
    head=dict(_delete_=True, type='VICRegHead'))
