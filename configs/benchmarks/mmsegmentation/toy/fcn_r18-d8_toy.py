# Copyright (c) mmssl contributors. All rights reserved.
"""The VOC config cut down to what a CPU trains in minutes: ResNet-18, crops of 128 pixels, the toy set.

Data:     tools/misc/make_toy_detection.py data/toy
Command:  tools/benchmarks/mmsegmentation/mim_dist_train.sh THIS_CONFIG PRETRAIN 1
"""
_base_ = '../voc12aug/fcn_r50-d8_512x512_20k_voc12aug.py'

data_root = 'data/toy/VOCdevkit/VOC2012'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (128, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=(192, 144), ratio_range=(0.75, 1.5)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(192, 144),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ])
]
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=1,
    train=dict(data_root=data_root, pipeline=train_pipeline),
    val=dict(data_root=data_root, pipeline=test_pipeline),
    test=dict(data_root=data_root, pipeline=test_pipeline))

# the plain residual blocks of ResNet-18 have a quarter of the channels
model = dict(
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64))

# 0.01 is for batches of 16 and 20,000 iterations
optimizer = dict(lr=0.03)
runner = dict(max_iters=100)
checkpoint_config = dict(interval=50)
evaluation = dict(interval=50)
log_config = dict(interval=10)
