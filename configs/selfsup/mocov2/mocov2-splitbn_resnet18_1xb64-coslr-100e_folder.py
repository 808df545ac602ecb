# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v2 with a small network on any folder of photographs, on one machine with or without a GPU.

Command:  python tools/train.py configs/selfsup/mocov2/mocov2-splitbn_resnet18_1xb64-coslr-100e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience: there `amp.dtype=bfloat16 channels_last=True` and
          `data.train.pipelines.0.0.size=128` among the options save most.
Known:    a starting point for data of one's own. The queue is to be smaller than the number of images.
"""
_base_ = 'mocov2_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(
    queue_len=4096,
    # few images mean few iterations: the key encoder has to follow faster than on ImageNet
    momentum=0.99,
    # batch statistics of 32 images each, shuffled between queries and keys, as on several GPUs
    backbone=dict(depth=18, norm_cfg=dict(type='SplitBN', num_splits=2)),
    neck=dict(in_channels=512, hid_channels=512))

data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

# 0.03 for a batch of 256
optimizer = dict(lr=0.0075)
auto_scale_lr = dict(base_batch_size=64)

runner = dict(max_epochs=100)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
