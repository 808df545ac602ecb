# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on Places205 of each stage of a backbone that sees edges."""
_base_ = 'resnet50_mhead_8xb32-steplr-28e_places205.py'

model = dict(with_sobel=True, backbone=dict(in_channels=2))
