# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV for 100 epochs where prototype i gets a share of the images that goes with (i + 1) ** -0.25.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav-power_resnet50_64xb64-mcrop-2-6-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

VISSL's ablation of the assignment; power=0 gives each prototype the same share, as the paper does.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(head=dict(power=0.25))

runner = dict(max_epochs=100)
