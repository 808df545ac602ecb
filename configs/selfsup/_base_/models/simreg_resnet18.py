# Copyright (c) mmssl contributors. All rights reserved.
"""SimReg: ResNet-18 regresses the features of a trained ResNet-50 through a deep MLP."""
model = dict(
    type='SimReg',
    backbone=dict(type='ResNet', depth=18, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(type='MLPNeck', channels=[1024, 512, 1024, 2048], norm_cfg=dict(type='BN')),
    head=dict(type='SimRegHead'),
    teacher=dict(
        checkpoint='work_dirs/mocov2_resnet50_8xb32-coslr-800e_in1k/latest.pth',
        backbone=dict(type='ResNet', depth=50, out_indices=[4])))
