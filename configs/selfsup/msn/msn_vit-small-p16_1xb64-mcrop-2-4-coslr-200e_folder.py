# Copyright (c) mmssl contributors. All rights reserved.
"""MSN with a small network on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/msn/msn_vit-small-p16_1xb64-mcrop-2-4-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU.
Known:    for classes of which few images have labels. With some thousand images it learns slowly; DINO and LeJEPA
          learn more. A power of head.power=0.25 suits classes of unlike sizes.
"""
_base_ = 'msn_vit-small-p16_16xb64-mcrop-2-10-coslr-800e_in1k.py'

model = dict(
    # few images mean few iterations: the teacher has to follow faster than on ImageNet
    base_momentum=0.99,
    head=dict(num_prototypes=128))

data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(num_views=[2, 4], data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=2.5e-4)
auto_scale_lr = dict(base_batch_size=64)
runner = dict(max_epochs=200)
amp = dict(dtype='bfloat16')

log_config = dict(interval=10)
custom_hooks = [
    dict(type='MomentumUpdateHook', mode='linear'),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
    dict(type='CollapseMonitorHook', interval=10),
]
