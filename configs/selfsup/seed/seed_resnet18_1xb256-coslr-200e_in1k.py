# Copyright (c) mmssl contributors. All rights reserved.
"""SEED on one GPU, with the same batch of 256.

Command:  python tools/train.py configs/selfsup/seed/seed_resnet18_1xb256-coslr-200e_in1k.py
Hardware: one GPU with 256 images.
Known:    not trained with mmssl yet; see seed_resnet18_8xb32-coslr-200e_in1k, also for the teacher.
"""
_base_ = 'seed_resnet18_8xb32-coslr-200e_in1k.py'

data = dict(samples_per_gpu=256)

amp = dict(dtype='bfloat16')
channels_last = True
