# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet in two crops of 224 pixels and four of 96."""
_base_ = './imagenet_swav_mcrop-2-6.py'

data = dict(train=dict(num_views=[2, 4]))
