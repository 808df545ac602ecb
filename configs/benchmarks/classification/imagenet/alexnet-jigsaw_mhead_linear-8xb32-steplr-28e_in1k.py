# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the five convolutions of Jigsaw's AlexNet, as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

Its first convolution has a stride of 2, so that its maps are twice as large; grid pooling makes them 10, 6, 5, 5 and 6
wide, as those of the others.
"""
_base_ = 'alexnet-rotnet_mhead_linear-8xb32-steplr-28e_in1k.py'

model = dict(backbone=dict(variant='jigsaw'), head=dict(pool_type=['grid:10', 'grid:6', 'grid:5', 'grid:5', 'grid:6']))
