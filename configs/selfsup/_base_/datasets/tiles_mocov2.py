# Copyright (c) mmssl contributors. All rights reserved.
"""Tiles of 13 channels and 16 bits, as Sentinel-2's, in two views of MoCo v2's augmentation without its colours.

The figures of img_norm_cfg are to be those of the tiles: tools/analysis_tools/channel_statistics.py prints them.
"""
img_norm_cfg = dict(mean=[1500.] * 13, std=[1000.] * 13, max_value=1)
# True: workers hand over uint16, and a whole batch is normalised at once on the device
prefetch = True

train_pipeline = [
    dict(type='RandomResizedCrop', size=96, scale=(0.2, 1.)),
    # of the channels together and of each around its mean; hue, saturation and grey are of RGB
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4)], p=0.8),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
    dict(type='RandomHorizontalFlip'),
    dict(type='RandomVerticalFlip'),  # seen from above, no side is up
]

data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    drop_last=True,
    train=dict(
        type='MultiViewDataset',
        # TIFF files anywhere below the folder; no labels, no annotation file
        data_source=dict(type='Folder', data_prefix='data/tiles', depth='stored'),
        num_views=[2],
        pipelines=[train_pipeline],
        prefetch=prefetch))
