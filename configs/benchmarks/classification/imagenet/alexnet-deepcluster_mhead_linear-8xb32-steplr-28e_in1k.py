# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on ImageNet of the five convolutions of DeepCluster's AlexNet, as in VISSL.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The network finds the edges that it sees by itself. The maps have 9600, 9216, 9600, 9600 and 9216 numbers after pooling.
"""
_base_ = 'alexnet-rotnet_mhead_linear-8xb32-steplr-28e_in1k.py'

model = dict(backbone=dict(variant='deepcluster'))
