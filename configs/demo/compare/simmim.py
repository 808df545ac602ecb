# Copyright (c) mmssl contributors. All rights reserved.
"""SimMIM on digits, with a small Swin transformer."""
_base_ = '_single_view.py'

model = dict(
    _delete_=True,
    type='SimMIM',
    backbone=dict(
        type='SimMIMSwinTransformer',
        arch=dict(embed_dims=48, depths=[2, 2], num_heads=[2, 4]),
        img_size=32,
        patch_size=4,
        in_channels=1,
        out_indices=[1],
        drop_path_rate=0.,
        stage_cfgs=dict(block_cfgs=dict(window_size=4))),
    neck=dict(type='SimMIMNeck', in_channels=96, encoder_stride=8, out_channels=1),
    head=dict(type='SimMIMHead', patch_size=4, encoder_in_channels=1))
data = dict(
    train=dict(pipeline=[
        dict(type='RandomRotation', degrees=15, interpolation='bilinear'),
        dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0)),
        dict(type='SimMIMMaskGenerator', input_size=32, mask_patch_size=8, model_patch_size=4, mask_ratio=0.5)
    ]))
optimizer = dict(weight_decay=0.05)
channels_last = False
