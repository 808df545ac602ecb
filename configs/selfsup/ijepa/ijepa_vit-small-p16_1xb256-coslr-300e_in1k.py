# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA (https://arxiv.org/abs/2301.08243) with ViT-S/16, 300 epochs of ImageNet, batch 256, as on one GPU.

Command:  python tools/train.py configs/selfsup/ijepa/ijepa_vit-small-p16_1xb256-coslr-300e_in1k.py
Hardware: one GPU with 256 images.
Known:    not trained with mmssl yet; nothing was published for so small a network. At this batch others saw the
          published rate of 1e-3 diverge.
"""
_base_ = 'ijepa_vit-huge-p14_16xb128-coslr-300e_in1k.py'

model = dict(backbone=dict(arch='deit-small', patch_size=16), neck=dict(embed_dims=192, num_layers=6, num_heads=6))

data = dict(samples_per_gpu=256)

optimizer = dict(lr=2.5e-4)
auto_scale_lr = dict(base_batch_size=256)
