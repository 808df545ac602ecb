# Copyright (c) mmssl contributors. All rights reserved.
"""The recipe of `make demo` with a ResNet-18, which detectors and segmentors take, on a folder of images.

Command:  python tools/train.py configs/demo/simclr-resnet18_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Known:    the first step of the way in docs/en/downstream.md, there on the images of make_toy_detection.py.
"""
_base_ = 'simclr_digits.py'

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])

model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    neck=dict(in_channels=512))

# colours stay as they are: they tell the shapes of the toy set apart, which views without them learn to overlook
train_pipeline = [
    dict(type='RandomResizedCrop', size=64, scale=(0.2, 1.0)),
    dict(type='RandomHorizontalFlip'),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.5, p=0.5),
]
data = dict(
    samples_per_gpu=64,
    train=dict(
        data_source=dict(_delete_=True, type='Folder', data_prefix='data/toy/coco/train2017'),
        pipelines=[train_pipeline]))

# neighbours need labels, which a folder has not
demo = None
log_config = dict(interval=2)
custom_hooks = [dict(type='CollapseMonitorHook', interval=5)]
work_dir = None
