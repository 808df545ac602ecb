# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on Places205 of the stem and each stage as in VISSL, with the mean of the last map as a sixth.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = '../imagenet/resnet50_mhead_linear-8xb32-steplr-28e_in1k.py'

root = 'data/Places205/data/vision/torralba/deeplearning/images256/'
data = dict(
    train=dict(
        data_source=dict(data_prefix=root, ann_file='data/Places205/trainvalsplit_places205/train_places205.csv')),
    val=dict(data_source=dict(data_prefix=root, ann_file='data/Places205/trainvalsplit_places205/val_places205.csv')))

model = dict(head=dict(num_classes=205))

lr_config = dict(step=[4, 8, 12])
runner = dict(max_epochs=14)
checkpoint_config = dict(interval=1)
