# Copyright (c) mmssl contributors. All rights reserved.
"""ReSSL: a two-layer projector without norms, and a long queue of wide keys."""
model = dict(
    type='ReSSL',
    queue_len=131072,
    feat_dim=512,
    momentum=0.999,
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='MLPNeck', channels=[4096, 512]),
    head=dict(type='ReSSLHead', student_temp=0.1, teacher_temp=0.04))
