# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR as VISSL trains it on four nodes (simclr_4node_resnet), 300 epochs.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_resnet50_32xb128-coslr-300e_in1k.py 8
Hardware: 32 GPUs with 128 images each, here as 4 nodes: NNODES=4 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

The learning rate rises from 0.6 to 4.8 in 10 epochs. In VISSL it begins at 1.2, since there the start of the warm-up
goes with the number of nodes.
"""
_base_ = 'vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py'

data = dict(samples_per_gpu=128)

runner = dict(max_epochs=300)
