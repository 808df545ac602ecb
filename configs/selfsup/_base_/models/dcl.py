# Copyright (c) mmssl contributors. All rights reserved.
"""DCL: SimCLR without the positive key in the denominator."""
_base_ = 'simclr.py'

model = dict(head=dict(type='DCLHead'))
