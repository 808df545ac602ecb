# Copyright (c) mmssl contributors. All rights reserved.
"""DCLW on digits."""
_base_ = '_base_.py'

model = dict(head=dict(type='DCLHead', sigma=0.5))
