# Copyright (c) mmssl contributors. All rights reserved.
"""ReSSL with a small network on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/ressl/ressl_resnet18_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own. The queue is to be smaller than the number of images, and the momentum
          is lower than for ImageNet, as there are fewer iterations.
"""
_base_ = 'ressl_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
    backbone=dict(depth=18, norm_cfg=dict(type='SplitBN', num_splits=4)),
    neck=dict(channels=[512, 128]))

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=0.03)
auto_scale_lr = dict(base_batch_size=128)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
