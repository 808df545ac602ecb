# Copyright (c) mmssl contributors. All rights reserved.
"""DINO with a small network on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/dino/dino_resnet18_1xb64-mcrop-2-4-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own of some thousand images. If loss and teacher_entropy stay at ln 4096 =
          8.3, all prototypes are alike: lower head.teacher_temp to 0.02.
"""
_base_ = 'dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e_in1k.py'

model = dict(
    # few images mean few iterations: the teacher has to follow faster than on ImageNet
    base_momentum=0.99,
    backbone=dict(_delete_=True, type='ResNet', depth=18, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(out_channels=4096, norm_last_layer=True, with_avg_pool=True, vit_backbone=False))

data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(num_views=[1, 1, 4], data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=5e-4)
auto_scale_lr = dict(base_batch_size=64)
runner = dict(max_epochs=200)
amp = dict(dtype='bfloat16')

log_config = dict(interval=10)
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
    dict(type='CollapseMonitorHook', interval=10),
]
