# Copyright (c) mmssl contributors. All rights reserved.
"""SimMIM on half as many devices.

Command:  tools/dist_train.sh configs/selfsup/simmim/simmim_swin-base_8xb256-coslr-100e_in1k-192.py 8
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'simmim_swin-base_16xb128-coslr-100e_in1k-192.py'

data = dict(samples_per_gpu=256)
