# Copyright (c) mmssl contributors. All rights reserved.
"""Relative location of patches (https://arxiv.org/abs/1505.05192), 70 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 38.78 % linear evaluation on
          ImageNet (pooled features) and 65.52 mAP of linear SVMs on VOC07.
"""
_base_ = [
    '../_base_/models/relative-loc.py',
    '../_base_/datasets/imagenet_relative-loc.py',
    '../_base_/schedules/sgd_steplr-70e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(paramwise_options={'\\Aneck.': dict(weight_decay=5e-4), '\\Ahead.': dict(weight_decay=5e-4)})
auto_scale_lr = dict(enable=False, base_batch_size=512)
