# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster v2 on digits: three clusterings of the features of two large crops, and four small crops."""
_base_ = '_base_.py'

crop = dict(type='RandomResizedCrop', size=16, scale=(0.2, 0.6))
model = dict(
    type='DeepClusterV2',
    neck=dict(_delete_=True, type='SwAVNeck', hid_channels=256, out_channels=64, norm_cfg=dict(type='BN')),
    head=dict(_delete_=True, type='DeepClusterV2Head', temperature=0.1),
    memory_bank=dict(type='CropMemory', num_clusters=[60, 60, 60]))
small_pipeline = [dict(type='RandomRotation', degrees=15, interpolation='bilinear'), crop]
data = dict(train=dict(num_views=[2, 4], pipelines=[{{_base_.train_pipeline}}, small_pipeline]))
custom_hooks = [dict(type='DeepClusterV2Hook')]
