# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV for 100 epochs whose learning rate starts anew half way.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50_64xb64-mcrop-2-6-restart-100e_in1k-224-96.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

VISSL's schedule half_adaptive: 10 epochs of warm-up from 0.3, a cosine from 4.8 to 0.0048, and from epoch 56 on one
from 2.4, which is what a single cosine would have come to. The rate is held over an epoch, and the warm-up counts
into the first cosine, whose highest rate is 4.5. VISSL's full waves, which rise along a cosine as well, have no
policy here.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

lr_config = dict(
    _delete_=True,
    policy='CosineRestart',
    by_epoch=True,
    periods=[55, 45],
    restart_weights=[1, 0.5],
    min_lr=0.0048,
    warmup='linear',
    warmup_iters=10,
    warmup_ratio=0.0625,
    warmup_by_epoch=True)

runner = dict(max_epochs=100)
