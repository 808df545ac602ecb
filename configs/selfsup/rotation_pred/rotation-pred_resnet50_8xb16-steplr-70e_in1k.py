# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction (https://arxiv.org/abs/1803.07728), 70 epochs of ImageNet, batch 128 in four rotations each.

Command:  tools/dist_train.sh configs/selfsup/rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k.py 8
Hardware: 8 GPUs with 16 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 48.12 % linear evaluation on
          ImageNet (pooled features) and 67.70 mAP of linear SVMs on VOC07.
"""
_base_ = [
    '../_base_/models/rotation-pred.py',
    '../_base_/datasets/imagenet_rotation-pred.py',
    '../_base_/schedules/sgd_steplr-70e_in1k.py',
    '../_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=128)
