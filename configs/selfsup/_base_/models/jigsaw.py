# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw: in which of 2000 orders do the nine patches of an image lie?"""
model = dict(
    type='Jigsaw',
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    # 1000 values of each patch, and the 9000 of an image to the classifier
    neck=dict(
        type='ChainNeck',
        necks=[
            dict(type='MLPNeck', channels=[1000], norm_cfg=dict(type='BN'), with_last_norm=True, with_last_act=True),
            dict(type='ConcatTowers', num_towers=9),
        ]),
    head=dict(type='ClsHead', in_channels=None, num_classes=2000))
