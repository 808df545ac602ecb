# Copyright (c) mmssl contributors. All rights reserved.
"""MAE on digits."""
_base_ = '_vit.py'

model = dict(
    type='MAE',
    backbone=dict(type='MAEViT', mask_ratio=0.75),
    neck=dict(
        type='MAEPretrainDecoder',
        num_patches=64,
        patch_size=4,
        in_chans=1,
        embed_dim=64,
        decoder_embed_dim=64,
        decoder_depth=2,
        decoder_num_heads=4,
        mlp_ratio=2.),
    head=dict(type='MAEPretrainHead', norm_pix=False, patch_size=4))
# crops alone: what colours and blur take away could not be rebuilt
data = dict(
    train=dict(pipeline=[
        dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
        dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
    ]))
