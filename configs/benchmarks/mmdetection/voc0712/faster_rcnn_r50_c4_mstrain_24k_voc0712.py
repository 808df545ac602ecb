# Copyright (c) mmssl contributors. All rights reserved.
"""Faster R-CNN C4 on VOC 2007 and 2012, tested on VOC 2007: the protocol of MoCo.

Command:  tools/benchmarks/mmdetection/mim_dist_train_c4.sh THIS_CONFIG PRETRAIN 8
"""
_base_ = [
    '../_base_/models/faster_rcnn_r50_c4.py',
    '../_base_/datasets/voc0712_mstrain.py',
    '../_base_/schedules/schedule_24k.py',
    '../_base_/default_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
checkpoint_config = dict(by_epoch=False, interval=2000)
evaluation = dict(interval=2000, metric='mAP')
