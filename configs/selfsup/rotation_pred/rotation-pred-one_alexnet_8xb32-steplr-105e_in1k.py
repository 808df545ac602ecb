# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction of one random rotation an image on RotNet's AlexNet, 105 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/rotation_pred/rotation-pred-one_alexnet_8xb32-steplr-105e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published 39.51 % linear evaluation on ImageNet for the authors' AlexNet.

The classifier stands on the pooled map of the last stage.
"""
_base_ = 'rotation-pred-one_resnet50_8xb32-steplr-105e_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='AlexNet', variant='rotnet', out_indices=[7], norm_cfg=dict(type='SyncBN')),
    head=dict(in_channels=None))
