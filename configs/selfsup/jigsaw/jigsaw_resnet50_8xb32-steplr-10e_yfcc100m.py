# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw on the photographs of YFCC100M, 10 epochs.

Command:  tools/dist_train.sh configs/selfsup/jigsaw/jigsaw_resnet50_8xb32-steplr-10e_yfcc100m.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; Goyal et al. published 51.37 % linear evaluation on ImageNet of
          a Jigsaw on YFCC100M.

meta/train.txt names the images, one a line, relative to data/yfcc100m.
"""
_base_ = 'jigsaw_resnet50_8xb32-steplr-105e_in1k.py'

data = dict(
    train=dict(
        data_source=dict(type='ImageList', data_prefix='data/yfcc100m', ann_file='data/yfcc100m/meta/train.txt')))

# no warm-up, which would take half of the time
lr_config = dict(_delete_=True, policy='step', step=[3, 6, 9])
runner = dict(max_epochs=10)
checkpoint_config = dict(interval=1)
