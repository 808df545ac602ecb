# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA on digits: two large and four small crops, as for SwAV."""
_base_ = 'swav.py'

model = dict(
    type='LeJEPA',
    neck=dict(
        _delete_=True,
        type='NonLinearNeck',
        hid_channels=256,
        out_channels=32,
        with_bias=True,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=dict(type='BN')),
    head=dict(_delete_=True, type='LeJEPAHead', lambd=0.05, num_slices=256))
optimizer_config = dict(_delete_=True)
