# Copyright (c) mmssl contributors. All rights reserved.
"""Digits for a small vision transformer on 8 x 8 patches, one for each pixel of the digits as they are stored."""
_base_ = '_single_view.py'

model = dict(
    _delete_=True,
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=3, num_heads=4, feedforward_channels=128),
        img_size=32,
        patch_size=4,
        in_channels=1))
optimizer = dict(weight_decay=0.05)
channels_last = False
