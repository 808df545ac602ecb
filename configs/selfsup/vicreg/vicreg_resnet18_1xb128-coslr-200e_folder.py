# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg with a small network on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/vicreg/vicreg_resnet18_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own of some thousand images; there is no queue and no teacher to be tuned.
"""
_base_ = 'vicreg_resnet50_32xb64-coslr-1000e_in1k.py'

model = dict(backbone=dict(depth=18), neck=dict(hid_channels=2048, out_channels=2048))

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

# half the authors' rate for batches of 256
optimizer = dict(lr=0.25)
auto_scale_lr = dict(base_batch_size=128)
lr_config = dict(min_lr=0.00025)

runner = dict(max_epochs=200)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
