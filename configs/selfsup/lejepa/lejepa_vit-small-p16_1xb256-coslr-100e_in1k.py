# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA with ViT-S/16 on one GPU, 100 epochs, batch 256; the rate is that of 512 images, as published.

Command:  python tools/train.py configs/selfsup/lejepa/lejepa_vit-small-p16_1xb256-coslr-100e_in1k.py
Hardware: one GPU with 256 images, eight crops each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'lejepa_vit-small-p16_8xb64-coslr-100e_in1k.py'

data = dict(samples_per_gpu=256)
auto_scale_lr = dict(base_batch_size=256)

channels_last = True
