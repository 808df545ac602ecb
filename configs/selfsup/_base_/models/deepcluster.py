# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster: classify images by the clusters of their features, seen as edges."""
model = dict(
    type='DeepCluster',
    with_sobel=True,
    backbone=dict(type='ResNet', depth=50, in_channels=2, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='AvgPool2dNeck'),
    head=dict(type='ClsHead', with_avg_pool=False, in_channels=2048, num_classes=10000))
