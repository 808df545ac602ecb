# Copyright (c) mmssl contributors. All rights reserved.
"""ODC: DeepCluster whose clusters move on in each iteration."""
num_classes = 10000
model = dict(
    type='ODC',
    with_sobel=False,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(type='ODCNeck', in_channels=2048, hid_channels=512, out_channels=256, with_avg_pool=True),
    head=dict(type='ClsHead', with_avg_pool=False, in_channels=256, num_classes=num_classes),
    memory_bank=dict(
        type='ODCMemory', feat_dim=256, momentum=0.5, num_classes=num_classes, min_cluster=20, debug=False))
