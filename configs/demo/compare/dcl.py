# Copyright (c) mmssl contributors. All rights reserved.
"""DCL on digits."""
_base_ = '_base_.py'

model = dict(head=dict(type='DCLHead'))
