# Copyright (c) mmssl contributors. All rights reserved.
"""A backbone that sees edges, rate 0.01."""
_base_ = 'resnet50_head1_4xb64-steplr1e-1-20e_in1k-10pct.py'

model = dict(with_sobel=True, backbone=dict(in_channels=2))
optimizer = dict(lr=0.01)
