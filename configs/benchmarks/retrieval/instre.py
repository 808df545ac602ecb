# Copyright (c) mmssl contributors. All rights reserved.
"""INSTRE: gnd_instre.mat (or .pkl) and the folders of images in data/instre."""
_base_ = 'oxford5k.py'

source = dict(type='Instre', data_prefix='data/instre')
data = dict(database=dict(data_source=source), query=dict(data_source=source))
