# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the five convolutions of RotNet's AlexNet, as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

Weights of RotNet's authors, and of VISSL, are read after tools/model_converters/convert.py. The windows of `pool_type`
fit images of 224 pixels; the learning rate is 0.01, a tenth of it after 8, 16 and 24 epochs.
"""
_base_ = [
    '../_base_/models/resnet50_multihead.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/nesterov_steplr-28e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

stages = [0, 2, 4, 5, 6]  # conv1 to conv5
model = dict(
    backbone=dict(_delete_=True, type='AlexNet', variant='rotnet', out_indices=stages, frozen_stages=6),
    head=dict(
        pool_type=['19s4', '12s3', '9s1', '9s1', '8s1'],
        in_indices=stages,
        map_sizes=[55, 27, 13, 13, 13],
        norm_cfg=dict(_delete_=True, type='SyncBN')))

train_pipeline = [
    dict(type='Resize', size=256),
    dict(type='RandomCrop', size=224),
    dict(type='RandomHorizontalFlip'),
]
data = dict(train=dict(pipeline=train_pipeline))

optimizer = dict(weight_decay=5e-4, nesterov=False)
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(step=[8, 16, 24])
