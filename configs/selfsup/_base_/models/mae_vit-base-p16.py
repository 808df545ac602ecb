# Copyright (c) mmssl contributors. All rights reserved.
"""MAE: rebuild three quarters of the patches from the rest."""
model = dict(
    type='MAE',
    backbone=dict(type='MAEViT', arch='b', patch_size=16, mask_ratio=0.75),
    neck=dict(
        type='MAEPretrainDecoder',
        patch_size=16,
        in_chans=3,
        embed_dim=768,
        decoder_embed_dim=512,
        decoder_depth=8,
        decoder_num_heads=16,
        mlp_ratio=4.),
    head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=16))
