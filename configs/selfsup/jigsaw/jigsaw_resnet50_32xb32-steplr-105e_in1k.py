# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw with a batch of 1024.

Command:  tools/dist_train.sh configs/selfsup/jigsaw/jigsaw_resnet50_32xb32-steplr-105e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published with it. In VISSL this overlay (bs32_4nodes)
          leaves the number of machines as it is.

The learning rate is 0.4, after five epochs of warm-up from 0.1.
"""
_base_ = 'jigsaw_resnet50_8xb32-steplr-105e_in1k.py'

optimizer = dict(lr=0.4)
auto_scale_lr = dict(base_batch_size=1024)
