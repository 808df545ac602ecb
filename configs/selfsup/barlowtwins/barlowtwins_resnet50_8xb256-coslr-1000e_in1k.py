# Copyright (c) mmssl contributors. All rights reserved.
"""Barlow Twins for 1000 epochs, as in the paper.

Command:  tools/dist_train.sh configs/selfsup/barlowtwins/barlowtwins_resnet50_8xb256-coslr-1000e_in1k.py 8
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet; the paper has 73.2 % linear evaluation on ImageNet for this length and batch.
"""
_base_ = 'barlowtwins_resnet50_8xb256-coslr-300e_in1k.py'

runner = dict(max_epochs=1000)
