# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV: predict the cluster of one crop from the others, clusters being prototypes that are learned along."""
model = dict(
    type='SwAV',
    backbone=dict(
        type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(type='SwAVNeck', hid_channels=2048, out_channels=128, with_avg_pool=True),
    # the number of crops is that of the data, the dimension that of the neck
    head=dict(type='SwAVHead', epsilon=0.05, temperature=0.1))
