# Copyright (c) mmssl contributors. All rights reserved.
"""Faster R-CNN C4 on VOC 2007 from weights of PIRL and NPID: a tenth of the rate and a longer warm-up, as in VISSL.

Command:  tools/benchmarks/mmdetection/mim_dist_train_c4.sh THIS_CONFIG PRETRAIN 8
"""
_base_ = 'faster_rcnn_r50_c4_mstrain_12k5_voc07.py'

optimizer = dict(lr=0.002)
lr_config = dict(warmup_iters=1000)
