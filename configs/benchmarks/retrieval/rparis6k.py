# Copyright (c) mmssl contributors. All rights reserved.
"""Revisited Paris: gnd_rparis6k.pkl and the folder jpg in data/rparis6k."""
_base_ = 'oxford5k.py'

source = dict(type='RParis6k', data_prefix='data/rparis6k')
data = dict(database=dict(data_source=source), query=dict(data_source=source))
