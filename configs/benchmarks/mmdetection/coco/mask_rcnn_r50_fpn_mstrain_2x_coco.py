# Copyright (c) mmssl contributors. All rights reserved.
"""Mask R-CNN on COCO 2017 for 24 epochs: the protocol of MoCo.

Command:  tools/benchmarks/mmdetection/mim_dist_train_fpn.sh THIS_CONFIG PRETRAIN 8
"""
_base_ = 'mask_rcnn_r50_fpn_mstrain_1x_coco.py'

lr_config = dict(step=[16, 22])
runner = dict(max_epochs=24)
