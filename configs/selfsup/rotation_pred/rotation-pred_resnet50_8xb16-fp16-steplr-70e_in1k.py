# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction in half precision.

Command:  tools/dist_train.sh configs/selfsup/rotation_pred/rotation-pred_resnet50_8xb16-fp16-steplr-70e_in1k.py 8
Hardware: 8 GPUs with 16 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'rotation-pred_resnet50_8xb16-steplr-70e_in1k.py'

fp16 = dict(loss_scale=512.)
