# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on iNaturalist 2018 of each stage of a backbone that sees edges."""
_base_ = 'resnet50_mhead_8xb32-steplr-84e_inat18.py'

model = dict(with_sobel=True, backbone=dict(in_channels=2))
