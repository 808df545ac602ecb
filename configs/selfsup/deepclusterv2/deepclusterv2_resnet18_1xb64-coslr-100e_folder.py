# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster v2 with a small network on any folder of photographs, on one machine with or without a GPU.

Command:  python tools/train.py configs/selfsup/deepclusterv2/deepclusterv2_resnet18_1xb64-coslr-100e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience: there `amp.dtype=bfloat16 channels_last=True` among the options saves most.
Known:    a starting point for data of one's own. There must be more images than clusters, 20 times as many or so:
          model.memory_bank.num_clusters=[200,200,200].

The learning rate is 0.05, after ten epochs of warm-up from 0.003.
"""
_base_ = 'deepclusterv2_resnet50_64xb64-fp16-coslr-100e_in1k.py'

model = dict(
    backbone=dict(depth=18, norm_cfg=dict(type='BN')),
    neck=dict(channels=[512, 128], norm_cfg=dict(type='BN')),
    memory_bank=dict(num_clusters=[200, 200, 200]))

data = dict(
    workers_per_gpu=2,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

# small batches need no LARS
optimizer = dict(_delete_=True, type='SGD', lr=0.05, weight_decay=1e-4, momentum=0.9)
auto_scale_lr = dict(base_batch_size=64)
fp16 = None

log_config = dict(interval=10)
custom_hooks = [dict(type='DeepClusterV2Hook'), dict(type='CollapseMonitorHook', interval=10)]
