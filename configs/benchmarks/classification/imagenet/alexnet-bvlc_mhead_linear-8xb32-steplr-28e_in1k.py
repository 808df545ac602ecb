# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the five convolutions of Caffe's AlexNet of supervised training, as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

Weights of Caffe2 are read after tools/model_converters/convert.py --bgr2rgb.
"""
_base_ = 'alexnet-rotnet_mhead_linear-8xb32-steplr-28e_in1k.py'

model = dict(backbone=dict(variant='bvlc'), head=dict(map_sizes=[54, 26, 12, 12, 12]))
