# Copyright (c) mmssl contributors. All rights reserved.
"""DCL with a small network on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/dcl/dcl_resnet18_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own of some thousand images. Small batches cost DCL less than SimCLR.
"""
_base_ = 'dcl_resnet50_8xb32-coslr-100e_in1k.py'

model = dict(backbone=dict(depth=18), neck=dict(in_channels=512, hid_channels=512))

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=0.3)
auto_scale_lr = dict(base_batch_size=128)

runner = dict(max_epochs=200)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
