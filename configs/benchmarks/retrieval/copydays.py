# Copyright (c) mmssl contributors. All rights reserved.
"""Copydays: the folder original and those of the copies in data/copydays."""
_base_ = 'oxford5k.py'

source = dict(type='Copydays', data_prefix='data/copydays')
data = dict(database=dict(data_source=source), query=dict(data_source=source))
