# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation of each stage of a backbone that sees edges."""
_base_ = 'resnet50_mhead_linear-8xb32-steplr-90e_in1k.py'

model = dict(with_sobel=True, backbone=dict(in_channels=2))
