# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw with 100 permutations.

Command:  tools/dist_train.sh configs/selfsup/jigsaw/jigsaw-perm100_resnet50_8xb32-steplr-105e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published for its recipe (permutations=perm100) 48.57 % linear
          evaluation on ImageNet.
"""
_base_ = 'jigsaw_resnet50_8xb32-steplr-105e_in1k.py'

data = dict(
    train=dict(pipeline=[
        dict(type='Resize', size=256),
        dict(type='RandomHorizontalFlip'),
        dict(type='RandomCrop', size=255),
        dict(type='RandomGrayscale', p=0.66),
        dict(type='ImageToPatches', num_patches=9),
        dict(type='PermutePatches', permutations=100, rule='max-min'),
    ]))
model = dict(head=dict(num_classes=100))
