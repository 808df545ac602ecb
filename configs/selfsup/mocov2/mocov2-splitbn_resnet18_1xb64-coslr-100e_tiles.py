# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v2 with a small network on a folder of tiles of 13 channels (TIFF, 16 bits), on one machine.

Command:  python tools/analysis_tools/channel_statistics.py FOLDER
          python tools/train.py configs/selfsup/mocov2/mocov2-splitbn_resnet18_1xb64-coslr-100e_tiles.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
          and the options that the first command prints in its last line.
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own. On 2,000 tiles of 96 pixels made of ten photographs (13 mixtures of
          their colours, in a light that differs from tile to tile), 8 epochs of a quarter of the width on crops of 32
          pixels, five minutes of one CPU core: kNN (k=20) tells 56.8 % of 400 tiles of other parts of the photographs
          right, before the training 32.0 %. Other numbers of channels: model.backbone.in_channels; weights of a
          network on RGB: --load-from FILE and inflate_stem=mean among the options.
"""
_base_ = [
    '../_base_/models/mocov2.py',
    '../_base_/datasets/tiles_mocov2.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    queue_len=4096,
    # few tiles mean few iterations: the key encoder has to follow faster than on ImageNet
    momentum=0.99,
    # batch statistics of 32 tiles each, shuffled between queries and keys, as on several GPUs
    backbone=dict(depth=18, in_channels=13, norm_cfg=dict(type='SplitBN', num_splits=2)),
    neck=dict(in_channels=512, hid_channels=512))

# 0.03 for a batch of 256
optimizer = dict(lr=0.0075)
auto_scale_lr = dict(enable=False, base_batch_size=64)

runner = dict(max_epochs=100)

log_config = dict(interval=10)
custom_hooks = [dict(type='CollapseMonitorHook', interval=10)]
