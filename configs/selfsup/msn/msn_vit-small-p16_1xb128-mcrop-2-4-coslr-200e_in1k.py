# Copyright (c) mmssl contributors. All rights reserved.
"""MSN (https://arxiv.org/abs/2204.07141) with ViT-S/16 and four small views, 200 epochs of ImageNet, as on one GPU.

Command:  python tools/train.py configs/selfsup/msn/msn_vit-small-p16_1xb128-mcrop-2-4-coslr-200e_in1k.py
Hardware: one GPU with 128 images.
Known:    not trained with mmssl yet; nothing was published for so small a batch.
"""
_base_ = 'msn_vit-small-p16_16xb64-mcrop-2-10-coslr-800e_in1k.py'

data = dict(samples_per_gpu=128, train=dict(num_views=[2, 4]))

optimizer = dict(lr=2.5e-4)
auto_scale_lr = dict(base_batch_size=128)
runner = dict(max_epochs=200)
amp = dict(dtype='bfloat16')

custom_hooks = [
    dict(type='MomentumUpdateHook', mode='linear'),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
]
