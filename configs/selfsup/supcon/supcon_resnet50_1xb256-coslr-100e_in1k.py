# Copyright (c) mmssl contributors. All rights reserved.
"""SupCon on one GPU, 100 epochs, batch 256.

Command:  python tools/train.py configs/selfsup/supcon/supcon_resnet50_1xb256-coslr-100e_in1k.py
Hardware: one GPU with 256 images; the rate follows the batch size.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'supcon_resnet50_8xb128-coslr-350e_in1k.py'

data = dict(samples_per_gpu=256)

optimizer = dict(lr=0.125)
auto_scale_lr = dict(base_batch_size=256)

amp = dict(dtype='bfloat16')
channels_last = True

runner = dict(max_epochs=100)
