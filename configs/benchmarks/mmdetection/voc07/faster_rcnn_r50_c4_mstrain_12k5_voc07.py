# Copyright (c) mmssl contributors. All rights reserved.
"""Faster R-CNN C4 on VOC 2007 alone: VISSL's protocol, which is MoCo's with half of the iterations.

Command:  tools/benchmarks/mmdetection/mim_dist_train_c4.sh THIS_CONFIG PRETRAIN 8
"""
_base_ = '../voc0712/faster_rcnn_r50_c4_mstrain_24k_voc0712.py'

data_root = 'data/VOCdevkit/VOC2007/'
data = dict(train=dict(ann_file=f'{data_root}ImageSets/Main/trainval.txt', img_prefix=data_root))

lr_config = dict(step=[9500])
runner = dict(max_iters=12500)
checkpoint_config = dict(interval=2500)
evaluation = dict(interval=2500)
