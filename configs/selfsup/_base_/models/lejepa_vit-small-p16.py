# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA: views predict the mean of the large ones, and embeddings are normally distributed; with ViT-S/16."""
model = dict(
    type='LeJEPA',
    backbone=dict(type='VisionTransformer', arch='deit-small', img_size=224, patch_size=16, drop_path_rate=0.1),
    neck=dict(
        type='NonLinearNeck',
        hid_channels=2048,
        out_channels=256,
        num_layers=3,
        with_bias=True,
        with_last_bn=False,
        with_last_bias=True,
        with_avg_pool=False,
        vit_backbone=True),
    head=dict(type='LeJEPAHead', lambd=0.05, num_slices=1024))
