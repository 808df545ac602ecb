# Copyright (c) mmssl contributors. All rights reserved.
"""Holidays: images by number in data/holidays."""
_base_ = 'oxford5k.py'

source = dict(type='Holidays', data_prefix='data/holidays')
data = dict(database=dict(data_source=source), query=dict(data_source=source))
