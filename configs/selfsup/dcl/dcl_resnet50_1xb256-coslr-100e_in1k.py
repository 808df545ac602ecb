# Copyright (c) mmssl contributors. All rights reserved.
"""DCL on one GPU, with the same batch of 256.

Command:  python tools/train.py configs/selfsup/dcl/dcl_resnet50_1xb256-coslr-100e_in1k.py
Hardware: one GPU with 256 images; data.samples_per_gpu=64 optimizer.lr=0.6 for a small one.
Known:    not trained with mmssl yet; see dcl_resnet50_8xb32-coslr-100e_in1k.
"""
_base_ = 'dcl_resnet50_8xb32-coslr-100e_in1k.py'

data = dict(samples_per_gpu=256)

amp = dict(dtype='bfloat16')
channels_last = True
