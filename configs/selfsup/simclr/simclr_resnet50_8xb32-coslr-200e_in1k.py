# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with a batch of 256; the rate follows the batch size.

Command:  tools/dist_train.sh configs/selfsup/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'simclr_resnet50_16xb256-coslr-200e_in1k.py'

data = dict(samples_per_gpu=32)

optimizer = dict(lr=0.3)
auto_scale_lr = dict(base_batch_size=256)
