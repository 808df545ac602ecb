# Copyright (c) mmssl contributors. All rights reserved.
"""MaskFeat on digits."""
_base_ = '_vit.py'

model = dict(
    type='MaskFeat',
    backbone=dict(type='MaskFeatViT'),
    head=dict(type='MaskFeatPretrainHead', embed_dim=64, hog_dim=9),
    hog_para=dict(nbins=9, pool=4, gaussian_window=0))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
        dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
        dict(type='MaskFeatMaskGenerator', mask_window_size=8, mask_ratio=0.5, min_num_patches=4)
    ]))
