# Copyright (c) mmssl contributors. All rights reserved.
"""NNCLR on one GPU, 200 epochs, batch 256.

Command:  python tools/train.py configs/selfsup/nnclr/nnclr_resnet50_1xb256-coslr-200e_in1k.py
Hardware: one GPU with 256 images; the rate follows the batch size.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'nnclr_resnet50_8xb64-coslr-200e_in1k.py'

data = dict(samples_per_gpu=256)

optimizer = dict(lr=0.3)
auto_scale_lr = dict(base_batch_size=256)

amp = dict(dtype='bfloat16')
channels_last = True
