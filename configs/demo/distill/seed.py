# Copyright (c) mmssl contributors. All rights reserved.
"""SEED: the student is to find the same images similar as the projections of its teacher do."""
_base_ = '_base_.py'

model = dict(
    type='SEED',
    queue_len=4096,
    neck=dict(_delete_=True, type='MLPNeck', channels=[512, 128]),
    head=dict(_delete_=True, type='SEEDHead'),
    teacher=dict(
        checkpoint={{_base_.teacher.checkpoint}},
        backbone={{_base_.teacher.backbone}},
        # the projector of configs/demo/simclr_fashion-mnist.py
        neck=dict(
            type='NonLinearNeck',
            in_channels=256,
            hid_channels=512,
            out_channels=128,
            num_layers=3,
            norm_cfg=dict(type='BN'))))

data = dict(
    train=dict(
        _delete_=True,
        type='SingleViewDataset',
        data_source={{_base_.data_source}},
        pipeline={{_base_.train_pipeline}},
        prefetch={{_base_.prefetch}}))
