# Copyright (c) mmssl contributors. All rights reserved.
"""SupCon on digits, with the label of each training image."""
_base_ = '_base_.py'

model = dict(type='SupCon', head=dict(type='SupConHead'))
data = dict(train=dict(with_label=True))
