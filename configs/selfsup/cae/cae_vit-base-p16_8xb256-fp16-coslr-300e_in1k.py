# Copyright (c) mmssl contributors. All rights reserved.
"""CAE on 8 devices.

Command:  tools/dist_train.sh configs/selfsup/cae/cae_vit-base-p16_8xb256-fp16-coslr-300e_in1k.py 8
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'cae_vit-base-p16_16xb128-fp16-coslr-300e_in1k.py'

data = dict(samples_per_gpu=256)
