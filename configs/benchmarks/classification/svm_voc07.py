# Copyright (c) mmssl contributors. All rights reserved.
"""Data of tools/benchmarks/classification/svm_voc07: what SVMs learn from (train) and what they are scored on (val)."""
prefetch = True
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])

# Two steps, as published: the short side, then a square that changes the proportions and loses no object.
# Images leave as uint8 and are normalised on the device; with prefetch = False, ToTensor and Normalize would follow.
pipeline = [dict(type='Resize', size=256), dict(type='Resize', size=(224, 224))]

data = dict(
    samples_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='SingleViewDataset',
        data_source=dict(type='VOC', data_prefix='data/VOCdevkit/VOC2007', split='trainval'),
        pipeline=pipeline,
        prefetch=prefetch),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(type='VOC', data_prefix='data/VOCdevkit/VOC2007', split='test'),
        pipeline=pipeline,
        prefetch=prefetch))
