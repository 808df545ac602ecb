# Copyright (c) mmssl contributors. All rights reserved.
"""The COCO config cut down to what a CPU trains in minutes: ResNet-18, images of 192 pixels, the toy set.

Data:     tools/misc/make_toy_detection.py data/toy
Command:  tools/benchmarks/mmdetection/mim_dist_train_fpn.sh THIS_CONFIG PRETRAIN 1
"""
_base_ = '../coco/mask_rcnn_r50_fpn_mstrain_1x_coco.py'

classes = ('person', 'bicycle', 'car')  # what the shapes are called
data_root = 'data/toy/coco/'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', img_scale=[(256, side) for side in range(112, 161, 16)], multiscale_mode='value'),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(256, 144),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ])
]
data = dict(
    workers_per_gpu=0,
    train=dict(
        classes=classes,
        ann_file=f'{data_root}annotations/instances_train2017.json',
        img_prefix=f'{data_root}train2017/',
        pipeline=train_pipeline),
    val=dict(
        classes=classes,
        ann_file=f'{data_root}annotations/instances_val2017.json',
        img_prefix=f'{data_root}val2017/',
        pipeline=test_pipeline))
data.update(test=data['val'])

# the plain residual blocks of ResNet-18 have a quarter of the channels; narrow heads do for three shapes
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, conv_out_channels=64, fc_out_channels=256, num_classes=3),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64, num_classes=3)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=64)), rpn_proposal=dict(nms_pre=500, max_per_img=200)),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=50)))

optimizer = dict(lr=0.01)
lr_config = dict(warmup_iters=20, step=[3])
runner = dict(max_epochs=4)
evaluation = dict(interval=2)
log_config = dict(interval=10)
