# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the stem and each stage as in VISSL, with the mean of the last map as a sixth.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The windows of `pool_type` are written size, s, stride, p, padding, and fit images of 224 pixels, whose maps have the
sides of `map_sizes`. The channels of the maps are those of the trunk.
"""
_base_ = [
    '../_base_/models/resnet50_multihead.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/nesterov_steplr-28e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

stages = [0, 1, 2, 3, 4, 4]
model = dict(
    backbone=dict(out_indices=stages),
    head=dict(
        pool_type=['10s10p4', '16s8', '13s5', '8s3', '6s1', 'average'],
        in_indices=stages,
        map_sizes=[112, 56, 28, 14, 7, 7],
        norm_cfg=dict(_delete_=True, type='SyncBN')))

optimizer = dict(weight_decay=5e-4)
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(step=[8, 16, 24])
