# Copyright (c) mmssl contributors. All rights reserved.
"""A linear classifier of the 80 classes of COCO 2014 on frozen features, behind a batch norm: which are in the image.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

Crops, flips and schedule are those of the recipe on Pascal VOC 2007, the measure is mean average precision.
"""
_base_ = '../voc07/resnet50_bn-linear-8xb32-steplr-28e_voc07.py'

model = dict(head=dict(num_classes=80))

data_source = dict(type='COCO', data_prefix='data/coco', year=2014, multi_label=True)
data = dict(
    train=dict(data_source=dict(data_source, split='train', _delete_=True)),
    val=dict(data_source=dict(data_source, split='val', _delete_=True)))
