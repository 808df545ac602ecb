# Copyright (c) mmssl contributors. All rights reserved.
"""The VOC config cut down to what a CPU trains in minutes: ResNet-18, images of 192 pixels, the toy set.

Data:     tools/misc/make_toy_detection.py data/toy
Command:  tools/benchmarks/mmdetection/mim_dist_train_c4.sh THIS_CONFIG PRETRAIN 1
"""
_base_ = '../voc0712/faster_rcnn_r50_c4_mstrain_24k_voc0712.py'

data_root = 'data/toy/VOCdevkit/'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=[(256, side) for side in range(112, 161, 16)], multiscale_mode='value'),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
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
        ann_file=[f'{data_root}VOC{year}/ImageSets/Main/trainval.txt' for year in (2007, 2012)],
        img_prefix=[f'{data_root}VOC{year}/' for year in (2007, 2012)],
        pipeline=train_pipeline),
    val=dict(
        ann_file=f'{data_root}VOC2007/ImageSets/Main/test.txt',
        img_prefix=f'{data_root}VOC2007/',
        pipeline=test_pipeline))
data.update(test=data['val'])

# the plain residual blocks of ResNet-18 have a quarter of the channels; regions of 6 x 6 cells instead of 14 x 14, and
# fewer of them, since nearly all of the time is spent on these
model = dict(
    backbone=dict(depth=18),
    rpn_head=dict(in_channels=256, feat_channels=256, anchor_generator=dict(scales=[1, 2, 4, 8])),
    roi_head=dict(
        shared_head=dict(depth=18),
        bbox_roi_extractor=dict(roi_layer=dict(output_size=6), out_channels=256),
        bbox_head=dict(roi_feat_size=3, in_channels=512)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=32)), rpn_proposal=dict(nms_pre=500, max_per_img=200)),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=50)))

optimizer = dict(lr=0.01)
lr_config = dict(warmup_iters=20, step=[160])
runner = dict(max_iters=200)
checkpoint_config = dict(interval=100)
evaluation = dict(interval=100)
log_config = dict(interval=10)
