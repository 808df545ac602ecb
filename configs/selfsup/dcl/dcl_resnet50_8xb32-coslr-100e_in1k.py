# Copyright (c) mmssl contributors. All rights reserved.
"""DCL (https://arxiv.org/abs/2110.06848) with SimCLR, 100 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/dcl/dcl_resnet50_8xb32-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet. lightly published 65.1 % linear evaluation and 49.6 % by neighbours on ImageNet
          for DCL at this batch, rate and length, against 63.2 and 44.8 for SimCLR.

The rate is 0.075 times the root of the batch size.
"""
_base_ = [
    '../_base_/models/dcl.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(lr=1.2)
auto_scale_lr = dict(enable=False, base_batch_size=256)

runner = dict(max_epochs=100)
