# Copyright (c) mmssl contributors. All rights reserved.
"""FCN on VOC 2012 with the extra annotations of SBD.

Command:  tools/benchmarks/mmsegmentation/mim_dist_train.sh THIS_CONFIG PRETRAIN 4
"""
from mmssl.downstream.base_configs import base_configs

_base_ = [
    '../_base_/models/fcn_r50-d8.py',
    *base_configs('mmseg', 'datasets/pascal_voc12_aug.py', 'schedules/schedule_20k.py'),
    '../_base_/default_runtime.py',
]

model = dict(decode_head=dict(num_classes=21), auxiliary_head=dict(num_classes=21))
