# Copyright (c) mmssl contributors. All rights reserved.
"""FCN on the finely annotated part of Cityscapes.

Command:  tools/benchmarks/mmsegmentation/mim_dist_train.sh THIS_CONFIG PRETRAIN 4
"""
from mmssl.downstream.base_configs import base_configs

_base_ = [
    '../_base_/models/fcn_r50-d8.py',
    *base_configs('mmseg', 'datasets/cityscapes_769x769.py', 'schedules/schedule_40k.py'),
    '../_base_/default_runtime.py',
]

model = dict(
    decode_head=dict(align_corners=True),
    auxiliary_head=dict(align_corners=True),
    test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)))
