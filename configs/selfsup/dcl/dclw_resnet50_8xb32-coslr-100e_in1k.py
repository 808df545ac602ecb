# Copyright (c) mmssl contributors. All rights reserved.
"""DCLW: DCL that weighs pairs of views, the more the farther they are from each other.

Command:  tools/dist_train.sh configs/selfsup/dcl/dclw_resnet50_8xb32-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet. lightly published 64.5 % linear evaluation and 48.5 % by neighbours on ImageNet.
"""
_base_ = 'dcl_resnet50_8xb32-coslr-100e_in1k.py'

model = dict(head=dict(sigma=0.5))
