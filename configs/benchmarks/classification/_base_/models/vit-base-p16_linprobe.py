# Copyright (c) mmssl contributors. All rights reserved.
"""ViT-B/16 and a linear classifier on its class token, through a batch norm without factors."""
model = dict(
    type='Classification',
    backbone=dict(type='MIMVisionTransformer', arch='b', patch_size=16, final_norm=True, finetune=False),
    head=dict(type='MAELinprobeHead', embed_dim=768, num_classes=1000))
