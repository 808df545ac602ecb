# Copyright (c) mmssl contributors. All rights reserved.
"""SupCon: SimCLR with labels; two-layer projector without norm, as in the authors' code."""
_base_ = 'simclr.py'

model = dict(
    type='SupCon', neck=dict(_delete_=True, type='MLPNeck', channels=[2048, 2048, 128]), head=dict(type='SupConHead'))
