# Copyright (c) mmssl contributors. All rights reserved.
"""ClusterFit, second step: classify images by the clusters of another network's features."""
model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=None, num_classes=16000))
