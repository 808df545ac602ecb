# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR on the hand-written digits that scikit-learn carries, in minutes on two cores of a CPU.

Time:     a minute of training on two cores with AVX512_BF16.
Result:   95.2 % with 10 labels per class and 97.5 % by 20-NN; raw pixels 89.4 and 97.5, random weights 85.0 and 90.0.
Command:  make demo, or tools/demo.py configs/demo/simclr_digits.py
"""
_base_ = '../selfsup/_base_/default_runtime.py'

img_norm_cfg = dict(mean=[0.3], std=[0.35])
prefetch = True
data_source = dict(type='Digits', color_type='grayscale')

model = dict(
    type='SimCLR',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=10,
        in_channels=1,
        stem_channels=16,
        base_channels=16,
        out_indices=[4],
        norm_cfg=dict(type='BN')),
    neck=dict(
        type='NonLinearNeck',
        in_channels=128,
        hid_channels=256,
        out_channels=64,
        num_layers=2,
        norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead', temperature=0.2))

# a mirrored digit is none, so there is no flip
train_pipeline = [
    dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
    dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0., hue=0.)],
        p=0.8),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.5, p=0.5),
]
test_pipeline = [dict(type='Resize', size=32)]

data = dict(
    samples_per_gpu=256,
    workers_per_gpu=1,
    drop_last=True,
    train=dict(
        type='MultiViewDataset', data_source=data_source, num_views=[2], pipelines=[train_pipeline], prefetch=prefetch))

# what tools/demo.py evaluates on: labels are drawn, and neighbours taken, from `train`
demo = dict(
    labels_per_class=10,
    k=20,
    train=dict(type='SingleViewDataset', data_source=data_source, pipeline=test_pipeline, prefetch=prefetch),
    test=dict(
        type='SingleViewDataset',
        data_source=dict(data_source, test_mode=True),
        pipeline=test_pipeline,
        prefetch=prefetch))

optimizer = dict(type='AdamW', lr=2e-3, weight_decay=1e-4)
optimizer_config = dict()
lr_config = dict(
    policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=20, warmup_ratio=0.1, by_epoch=False)
runner = dict(type='EpochBasedRunner', max_epochs=50)

# used where the CPU (or GPU) computes fast in bfloat16; tools/demo.py drops it elsewhere
amp = dict(dtype='bfloat16')
channels_last = True
seed = 0
work_dir = 'work_dirs/demo'
checkpoint_config = dict(interval=-1)
log_config = dict(interval=5, hooks=[dict(type='TextLoggerHook'), dict(type='ProgressBarLoggerHook')])
custom_hooks = [
    dict(
        type='KNNEvalHook',
        train_dataset=demo['train'],
        val_dataset=demo['test'],
        interval=5,
        k=demo['k'],
        img_norm_cfg=img_norm_cfg),
    dict(type='CollapseMonitorHook', interval=5),
]
