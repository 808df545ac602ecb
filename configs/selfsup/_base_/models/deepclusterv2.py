# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster v2: predict the cluster of an image, three times 3000 clusters being made of a memory of features."""
model = dict(
    type='DeepClusterV2',
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='MLPNeck', channels=[2048, 128]),
    head=dict(type='DeepClusterV2Head', temperature=0.1),
    # the features of the two large crops of each image
    memory_bank=dict(type='CropMemory', num_clusters=[3000, 3000, 3000], crops=[0, 1], iterations=10))
