# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg: views agree, and the dimensions of their embeddings vary and are not correlated."""
model = dict(
    type='VICReg',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN'), zero_init_residual=True),
    neck=dict(
        type='NonLinearNeck',
        hid_channels=8192,
        out_channels=8192,
        num_layers=3,
        with_bias=True,
        with_last_bn=False,
        with_avg_pool=True),
    head=dict(type='VICRegHead'))
