# Copyright (c) mmssl contributors. All rights reserved.
"""A linear classifier of all classes of Pascal VOC 2007 on frozen features, behind a batch norm.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The schedule is that of VISSL's linear evaluations. The published figures on VOC 2007 are those of SVMs: see
tools/benchmarks/classification/svm_voc07.
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/voc07.py',
    '../_base_/schedules/nesterov_steplr-28e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(
    backbone=dict(frozen_stages=4),
    head=dict(num_classes=20, norm_cfg=dict(type='SyncBN'), loss=dict(type='MultiLabelLoss')))

optimizer = dict(weight_decay=5e-4)
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(step=[8, 16, 24])
