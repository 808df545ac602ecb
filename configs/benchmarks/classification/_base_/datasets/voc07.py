# Copyright (c) mmssl contributors. All rights reserved.
"""Pascal VOC 2007 with all classes of each image: crops and flips. Difficult objects count nowhere."""
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
# workers hand over uint8, and a whole batch is normalised at once on the device
prefetch = True

data = dict(
    samples_per_gpu=32,
    workers_per_gpu=4,
    train=dict(
        type='SingleViewDataset',
        data_source=dict(type='VOC', data_prefix='data/VOCdevkit/VOC2007', split='trainval', multi_label=True),
        pipeline=[dict(type='RandomResizedCrop', size=224),
                  dict(type='RandomHorizontalFlip')],
        prefetch=prefetch),
    val=dict(
        type='SingleViewDataset',
        data_source=dict(type='VOC', data_prefix='data/VOCdevkit/VOC2007', split='test', multi_label=True),
        # the whole image, so that no object is cut off
        pipeline=[dict(type='Resize', size=(224, 224))],
        prefetch=prefetch))
evaluation = dict(interval=5, metric='mean_average_precision')
