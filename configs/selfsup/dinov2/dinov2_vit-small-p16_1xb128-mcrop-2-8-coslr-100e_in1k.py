# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2 with ViT-S/16 and 100 epochs of ImageNet on one GPU, batch 128.

Command:  python tools/train.py configs/selfsup/dinov2/dinov2_vit-small-p16_1xb128-mcrop-2-8-coslr-100e_in1k.py
Hardware: one GPU of 40 GB or more; with less, data.samples_per_gpu=64 and optimizer.lr=7e-4.
Known:    not trained with mmssl yet; no result of it is known. The authors trained small networks with a large one as
          their teacher, not alone. If loss and teacher_entropy stay at ln 16384 = 9.7, all prototypes are alike: lower
          both temperatures to 0.02, or the rate.
"""
_base_ = 'dinov2_vit-large-p16_32xb64-mcrop-2-8-coslr-200e_in1k.py'

model = dict(
    # a small batch moves the student more at random
    base_momentum=0.998,
    backbone=dict(arch='deit-small', layer_cfgs=dict(drop_path_rate=0.1), drop_path_subset=False),
    neck=dict(out_channels=16384))

data = dict(samples_per_gpu=128)

optimizer = dict(lr=1e-3)
lr_config = dict(warmup_iters=10)
optimizer_config = dict(frozen_layers_cfg=dict(last_layer='1 epoch'))
auto_scale_lr = dict(base_batch_size=128)

custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='head.teacher_temp', start=0.04, end=0.07, epochs=30),
    dict(type='ScheduleHook', target='head.patch_teacher_temp', start=0.04, end=0.07, epochs=30),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
]

runner = dict(max_epochs=100)
amp = dict(dtype='bfloat16')
