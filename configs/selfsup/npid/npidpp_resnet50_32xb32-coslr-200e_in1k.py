# Copyright (c) mmssl contributors. All rights reserved.
"""NPID++, 200 epochs with a cosine schedule, from 0.12 to 0.00012.

Command:  tools/dist_train.sh configs/selfsup/npid/npidpp_resnet50_32xb32-coslr-200e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; no published figure. VISSL's overlay of the optimization of this length.
Folder:   the options of npidpp_resnet50_32xb32-coslr-800e_in1k.
"""
_base_ = 'npidpp_resnet50_32xb32-coslr-800e_in1k.py'

runner = dict(max_epochs=200)
