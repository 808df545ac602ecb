# Copyright (c) mmssl contributors. All rights reserved.
"""NPID on digits."""
_base_ = '_single_view.py'

model = dict(
    type='NPID',
    neg_num=512,
    neck=dict(_delete_=True, type='LinearNeck', in_channels=128, out_channels=64),
    head=dict(temperature=0.1),
    memory_bank=dict(type='SimpleMemory', feat_dim=64, momentum=0.5))
