# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA with a small network on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/lejepa/lejepa_resnet18_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience: two views alone (data.train.num_views=[2,2]) save most.
Known:    a starting point for data of one's own of some thousand images; lambd is the one weight to tune.
"""
_base_ = 'lejepa_vit-small-p16_8xb64-coslr-100e_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    neck=dict(hid_channels=1024, out_channels=64, with_avg_pool=True, vit_backbone=False),
    head=dict(num_slices=256))

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(weight_decay=5e-4)
auto_scale_lr = dict(base_batch_size=128)

runner = dict(max_epochs=200)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
