# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR with a batch of 512; the rate follows the batch size.

Command:  tools/dist_train.sh configs/selfsup/simclr/simclr_resnet50_8xb64-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'simclr_resnet50_16xb256-coslr-200e_in1k.py'

data = dict(samples_per_gpu=64)

optimizer = dict(lr=0.6)
auto_scale_lr = dict(base_batch_size=512)
