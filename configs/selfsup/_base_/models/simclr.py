# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR: two-layer projector, the other images of the batch as negatives."""
model = dict(
    type='SimCLR',
    backbone=dict(
        type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(
        type='NonLinearNeck', in_channels=2048, hid_channels=2048, out_channels=128, num_layers=2, with_avg_pool=True),
    head=dict(type='ContrastiveHead', temperature=0.1))
