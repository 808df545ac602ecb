# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg on one GPU, 100 epochs, batch 256.

Command:  python tools/train.py configs/selfsup/vicreg/vicreg_resnet50_1xb256-coslr-100e_in1k.py
Hardware: one GPU with 256 images.
Known:    not trained with mmssl yet. lightly published 63.0 % linear evaluation on ImageNet and 46.3 % by neighbours
          for this network, batch and length.
"""
_base_ = 'vicreg_resnet50_32xb64-coslr-1000e_in1k.py'

data = dict(samples_per_gpu=256)

# 0.3 for each 256 images: the authors' rate for this length
optimizer = dict(lr=0.3)
auto_scale_lr = dict(base_batch_size=256)
lr_config = dict(min_lr=0.0003)

amp = dict(dtype='bfloat16')
channels_last = True

runner = dict(max_epochs=100)
