# Copyright (c) mmssl contributors. All rights reserved.
"""MaskFeat: predict histograms of oriented gradients of masked patches."""
model = dict(
    type='MaskFeat',
    backbone=dict(type='MaskFeatViT', arch='b', patch_size=16, drop_path_rate=0),
    # three channels, nine directions, 2 x 2 cells a patch
    head=dict(type='MaskFeatPretrainHead', hog_dim=108),
    hog_para=dict(nbins=9, pool=8, gaussian_window=16))
