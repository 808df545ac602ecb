# Copyright (c) mmssl contributors. All rights reserved.
"""CAE on digits. A random encoder takes the place of DALL-E's."""
_base_ = '_vit.py'

model = dict(
    type='CAE',
    img_norm_cfg={{_base_.img_norm_cfg}},
    backbone=dict(type='CAEViT', init_values=0.1, qkv_bias=False),
    neck=dict(
        type='CAENeck',
        num_classes=512,
        embed_dims=64,
        regressor_depth=2,
        decoder_depth=2,
        num_heads=4,
        mlp_ratio=2,
        init_values=0.1,
        mask_tokens_num=32),
    head=dict(
        type='CAEHead',
        tokenizer_path=None,
        lambd=2,
        # of a few seeds the one that uses most words for digits, 32
        random_tokenizer=dict(n_hid=4, n_blk_per_group=1, input_channels=1, vocab_size=512, seed=1)))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
        dict(type='RandomResizedCropAndInterpolationWithTwoPic', size=32, second_size=64, scale=(0.6, 1.0)),
        dict(type='BEiTMaskGenerator', input_size=8, num_masking_patches=32, min_num_patches=4)
    ]))
