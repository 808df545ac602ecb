# Copyright (c) mmssl contributors. All rights reserved.
"""Rate 0.01, that of the head 100 times as much."""
_base_ = 'resnet50_head1_4xb64-steplr1e-1-20e_in1k-1pct.py'

optimizer = dict(lr=0.01, paramwise_options={r'\Ahead.': dict(lr_mult=100)})
