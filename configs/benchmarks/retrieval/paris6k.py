# Copyright (c) mmssl contributors. All rights reserved.
"""Paris: images anywhere in data/paris6k, ground truth in its folder groundtruth."""
_base_ = 'oxford5k.py'

source = dict(type='Paris6k', data_prefix='data/paris6k')
data = dict(database=dict(data_source=source), query=dict(data_source=source))
