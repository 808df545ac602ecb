# Copyright (c) mmssl contributors. All rights reserved.
"""NPID with its noise-contrastive loss: tell each image's entry of a bank from entries drawn as noise."""
model = dict(
    type='NPID',
    neg_num=4096,
    ensure_neg=True,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='LinearNeck', out_channels=128, with_avg_pool=True),
    head=dict(type='NCEHead', temperature=0.07),
    memory_bank=dict(type='SimpleMemory', feat_dim=128, momentum=0.5))
