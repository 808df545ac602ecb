# Copyright (c) mmssl contributors. All rights reserved.
"""Barlow Twins for 100 epochs, 8 steps of gradients a step of the weights.

Command:  tools/dist_train.sh configs/selfsup/barlowtwins/barlowtwins_resnet50_8xb32-accum8-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'barlowtwins_resnet50_8xb256-coslr-300e_in1k.py'

data = dict(samples_per_gpu=32)

# the optimizer sees 2048 images a step, but each correlation is one of 256
optimizer_config = dict(update_interval=8)

runner = dict(max_epochs=100)
