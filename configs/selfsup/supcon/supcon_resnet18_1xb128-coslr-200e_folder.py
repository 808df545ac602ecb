# Copyright (c) mmssl contributors. All rights reserved.
"""SupCon with a small network on photographs in a folder for each class, on one machine.

Command:  python tools/train.py configs/selfsup/supcon/supcon_resnet18_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own of some thousand images, sorted into folders by class. Where few of
          them have a label, give these in a file: data.train.data_source.labels, with -1 for the others.
"""
_base_ = 'supcon_resnet50_8xb128-coslr-350e_in1k.py'

model = dict(backbone=dict(depth=18), neck=dict(channels=[512, 512, 128]))

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    drop_last=True,
    # FOLDER/CLASS/image.jpg; no annotation file
    train=dict(data_source=dict(_delete_=True, type='ImageNet', data_prefix='data/photographs')))

optimizer = dict(lr=0.06)
auto_scale_lr = dict(base_batch_size=128)

runner = dict(max_epochs=200)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
