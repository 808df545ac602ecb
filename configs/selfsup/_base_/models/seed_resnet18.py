# Copyright (c) mmssl contributors. All rights reserved.
"""SEED: ResNet-18 learns from a trained ResNet-50 which images are alike."""
model = dict(
    type='SEED',
    queue_len=65536,
    backbone=dict(type='ResNet', depth=18, out_indices=[4], norm_cfg=dict(type='BN')),
    # the projector of the teacher is part of what is taught
    neck=dict(type='MLPNeck', channels=[512, 128]),
    head=dict(type='SEEDHead', student_temp=0.2, teacher_temp=1e-4),
    teacher=dict(
        checkpoint='work_dirs/mocov2_resnet50_8xb32-coslr-800e_in1k/latest.pth',
        backbone=dict(type='ResNet', depth=50, out_indices=[4]),
        neck=dict(type='MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128)))
