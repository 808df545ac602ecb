# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v1 in half precision.

Command:  tools/dist_train.sh configs/selfsup/mocov1/mocov1_resnet50_8xb32-fp16-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'mocov1_resnet50_8xb32-steplr-200e_in1k.py'

fp16 = dict(loss_scale=512.)
