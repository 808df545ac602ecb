# Copyright (c) mmssl contributors. All rights reserved.
"""CAE on 32 devices.

Command:  tools/dist_train.sh configs/selfsup/cae/cae_vit-base-p16_32xb64-fp16-coslr-300e_in1k.py 8
Hardware: 32 GPUs with 64 images each, here as four nodes: NNODES=4 NODE_RANK=0..3 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'cae_vit-base-p16_16xb128-fp16-coslr-300e_in1k.py'

data = dict(samples_per_gpu=64)
