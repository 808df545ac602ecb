# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV for 100 epochs whose learning rate starts anew half way.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50_64xb64-mcrop-2-6-restart-100e_in1k-224-96.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

VISSL's schedule half_adaptive: 10 epochs of warm-up from 0.6, a cosine from 4.8 to 0.0048, and from epoch 55 on one
from 2.4024, which is what a single cosine would have come to. Without `adaptive` the second is as high as the first
(half); with wave='full' and period=0.334 the rate rises along a cosine as well (full, and full_adaptive).
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

lr_config = dict(
    _delete_=True,
    policy='Composite',
    parts=[
        dict(type='linear', start=0.6, end=4.8, length=0.1),
        dict(type='cosine_restart', start=4.8, end=0.0048, period=0.5, adaptive=True),
    ])

runner = dict(max_epochs=100)
