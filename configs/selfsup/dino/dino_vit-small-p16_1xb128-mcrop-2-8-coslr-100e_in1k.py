# Copyright (c) mmssl contributors. All rights reserved.
"""DINO with ViT-S/16 on one GPU, 100 epochs, batch 128.

Command:  python tools/train.py configs/selfsup/dino/dino_vit-small-p16_1xb128-mcrop-2-8-coslr-100e_in1k.py
Hardware: one GPU with 128 images, ten crops each.
Known:    not trained with mmssl yet. lightly published 73.3 % linear evaluation on ImageNet and 67.5 % by neighbours
          for this network, batch and length.
"""
_base_ = 'dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e_in1k.py'

data = dict(samples_per_gpu=128)

# the temperature of the teacher stays, which is the authors' default
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
]

# 5e-4 for each 256 images
optimizer = dict(lr=2.5e-4)
auto_scale_lr = dict(base_batch_size=128)

channels_last = True

runner = dict(max_epochs=100)
