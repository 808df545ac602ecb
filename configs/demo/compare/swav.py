# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV on digits: two large and four small crops."""
_base_ = '_base_.py'

crop = dict(type='RandomResizedCrop', size=16, scale=(0.2, 0.6))
model = dict(
    type='SwAV',
    neck=dict(_delete_=True, type='SwAVNeck', hid_channels=256, out_channels=64, norm_cfg=dict(type='BN')),
    head=dict(_delete_=True, type='SwAVHead', epsilon=0.05, temperature=0.1, num_prototypes=60))
small_pipeline = [dict(type='RandomRotation', degrees=15, interpolation='bilinear'), crop]
data = dict(train=dict(num_views=[2, 4], pipelines=[{{_base_.train_pipeline}}, small_pipeline]))
optimizer_config = dict(frozen_layers_cfg=dict(prototypes=50))
