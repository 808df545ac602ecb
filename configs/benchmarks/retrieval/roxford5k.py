# Copyright (c) mmssl contributors. All rights reserved.
"""Revisited Oxford: gnd_roxford5k.pkl and the folder jpg in data/roxford5k."""
_base_ = 'oxford5k.py'

source = dict(type='ROxford5k', data_prefix='data/roxford5k')
data = dict(database=dict(data_source=source), query=dict(data_source=source))
