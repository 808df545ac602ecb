# Copyright (c) mmssl contributors. All rights reserved.
"""NNCLR: SimCLR whose positives are nearest neighbours in a queue."""
model = dict(
    type='NNCLR',
    queue_len=65536,
    feat_dim=256,
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(type='NonLinearNeck', hid_channels=2048, out_channels=256, num_layers=3, with_avg_pool=True),
    head=dict(
        type='NNCLRHead',
        temperature=0.1,
        predictor=dict(
            type='NonLinearNeck',
            in_channels=256,
            hid_channels=4096,
            out_channels=256,
            num_layers=2,
            with_last_bn=False,
            with_last_bias=True,
            with_avg_pool=False)))
