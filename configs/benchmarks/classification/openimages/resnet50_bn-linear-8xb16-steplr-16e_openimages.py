# Copyright (c) mmssl contributors. All rights reserved.
"""A linear classifier of the 9605 trainable classes of Open Images on frozen features, as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

A batch of 128 over 8 GPUs with the rate 0.003, which VISSL does not scale, and a tenth of it after 2, 4 and 6 of 16
epochs. A line of the lists is a file name and the ids of its classes, such as `train/a1.jpg 3,17`.
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/nesterov_steplr-28e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(
    backbone=dict(frozen_stages=4),
    head=dict(num_classes=9605, norm_cfg=dict(type='SyncBN'), loss=dict(type='MultiLabelLoss')))

data_source = dict(type='ImageNet21k', multi_label=True, data_prefix='data/openimages')
data = dict(
    samples_per_gpu=16,
    train=dict(data_source=dict(data_source, ann_file='data/openimages/meta/train.txt', _delete_=True)),
    val=dict(data_source=dict(data_source, ann_file='data/openimages/meta/val.txt', _delete_=True)))

optimizer = dict(lr=0.003)
auto_scale_lr = dict(enable=False, base_batch_size=128)
lr_config = dict(step=[2, 4, 6])
runner = dict(max_epochs=16)
evaluation = dict(_delete_=True, interval=4, metric='mean_average_precision')
