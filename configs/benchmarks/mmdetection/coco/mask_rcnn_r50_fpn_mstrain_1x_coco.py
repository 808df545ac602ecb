# Copyright (c) mmssl contributors. All rights reserved.
"""Mask R-CNN on COCO 2017 for 12 epochs: the protocol of MoCo.

Command:  tools/benchmarks/mmdetection/mim_dist_train_fpn.sh THIS_CONFIG PRETRAIN 8
"""
from mmssl.downstream.base_configs import base_configs

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn.py',
    '../_base_/datasets/coco_instance_mstrain.py',
    *base_configs('mmdet', 'schedules/schedule_1x.py'),
    '../_base_/default_runtime.py',
]
