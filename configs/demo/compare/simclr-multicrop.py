# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR on digits: two large and four small crops."""
_base_ = '_base_.py'

small_pipeline = [
    dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
    dict(type='RandomResizedCrop', size=16, scale=(0.2, 0.6))
]
data = dict(train=dict(num_views=[2, 4], pipelines=[{{_base_.train_pipeline}}, small_pipeline]))
