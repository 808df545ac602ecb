# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v1 on digits: a linear projector, and no blur."""
_base_ = 'mocov2.py'

model = dict(neck=dict(_delete_=True, type='LinearNeck', in_channels=128, out_channels=64))
