# Copyright (c) mmssl contributors. All rights reserved.
"""DenseCL on digits."""
_base_ = 'mocov2.py'

model = dict(type='DenseCL', neck=dict(type='DenseCLNeck'), loss_lambda=0.5)
custom_hooks = [dict(type='DenseCLHook', start_iters=100)]
