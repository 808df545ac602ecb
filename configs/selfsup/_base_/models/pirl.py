# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL: an image and its shuffled patches are like the memory's entry of the image, and unlike those of others."""
model = dict(
    type='PIRL',
    neg_num=32000,
    patch_weight=0.5,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='MLPNeck', channels=[128]),
    patch_neck=dict(
        type='ChainNeck',
        necks=[
            dict(type='MLPNeck', channels=[128]),
            dict(type='ConcatTowers', num_towers=9),
            dict(type='MLPNeck', channels=[128]),
        ]),
    head=dict(type='NCEHead', temperature=0.07),
    memory_bank=dict(type='SimpleMemory', feat_dim=128, momentum=0.5))
