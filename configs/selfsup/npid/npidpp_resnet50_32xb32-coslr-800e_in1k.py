# Copyright (c) mmssl contributors. All rights reserved.
"""NPID++, NPID in the setting of PIRL (https://arxiv.org/abs/1912.01991): 32000 negatives, 800 epochs, batch 1024.

Command:  tools/dist_train.sh configs/selfsup/npid/npidpp_resnet50_32xb32-coslr-800e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published for its recipe (npid++_4nodes_resnet) 56.68 % linear evaluation on
          ImageNet.

The learning rate falls from 0.12 to 0.00012, by epochs. Parameters of norms are not decayed.
Folder:   M negatives where 32000 are too many, and a partition constant that follows the network, without which small
          sets are not learned:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.neg_num=M model.head.norm_momentum=0.1
"""
_base_ = [
    '../_base_/models/npid-nce.py',
    '../_base_/datasets/imagenet_npid-nce.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

model = dict(neg_num=32000)

optimizer = dict(lr=0.12, paramwise_options=dict(norm_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=1024)
lr_config = dict(min_lr=0.00012)
runner = dict(max_epochs=800)
