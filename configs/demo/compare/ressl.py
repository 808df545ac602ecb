# Copyright (c) mmssl contributors. All rights reserved.
"""ReSSL on digits. The queue is shorter than the data, and the momentum lower than for long trainings."""
_base_ = '_base_.py'

model = dict(
    type='ReSSL',
    queue_len=1024,
    feat_dim=64,
    momentum=0.98,
    backbone=dict(norm_cfg=dict(type='SplitBN', num_splits=4)),
    neck=dict(_delete_=True, type='MLPNeck', channels=[256, 64]),
    head=dict(_delete_=True, type='ReSSLHead'))

# the teacher's view comes first
weak_pipeline = [dict(type='RandomResizedCrop', size=32, scale=(0.8, 1.0))]
data = dict(train=dict(num_views=[1, 1], pipelines=[weak_pipeline, {{_base_.train_pipeline}}]))
