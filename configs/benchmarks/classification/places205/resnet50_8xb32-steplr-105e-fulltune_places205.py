# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of everything on Places205 as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The rate is 0.1 for a batch of 256, and a tenth of that before it after 30, 60, 90 and 100 of 105 epochs; no decay.
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/nesterov_steplr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

root = 'data/Places205/data/vision/torralba/deeplearning/images256/'
data = dict(
    train=dict(
        data_source=dict(data_prefix=root, ann_file='data/Places205/trainvalsplit_places205/train_places205.csv')),
    val=dict(data_source=dict(data_prefix=root, ann_file='data/Places205/trainvalsplit_places205/val_places205.csv')))

model = dict(head=dict(num_classes=205))

optimizer = dict(lr=0.1, weight_decay=0., paramwise_options=None)
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(step=[30, 60, 90, 100])
runner = dict(max_epochs=105)
