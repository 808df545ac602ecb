# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV whose codes come from a momentum encoder (VISSL: swav_momentum_loss), 400 epochs.

Command:  tools/dist_train.sh configs/selfsup/swav/swav-momentum_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL has no recipe of it and published no result.
Folder:   B images a batch with the learning rate LR, 0.3 for each 256 images, and K prototypes where 3000 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None data.samples_per_gpu=B optimizer.lr=LR model.head.num_prototypes=K

The figures of the momentum encoder are the defaults of VISSL's loss, all others those of its SwAV.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

model = dict(type='SwAVMomentum', momentum=0.99, eval_mode_iters=0)
