# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL (https://arxiv.org/abs/1912.01991) with Jigsaw as in VISSL, 800 epochs of ImageNet, batch 1024.

Command:  tools/dist_train.sh configs/selfsup/pirl/pirl_resnet50_32xb32-coslr-800e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published for its recipe (pirl_jigsaw_4node_resnet50) 64.29 % linear
          evaluation on ImageNet.

The learning rate falls from 0.12 to 0.00012 by epochs. None of the negatives is the entry of the image itself, and each
of the two embeddings has a partition constant of its own; VISSL's negatives may be that entry, and its images take the
constant of the patches.
Folder:   M negatives where 32000 are too many, and a partition constant that follows the network, without which small
          sets are not learned:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.neg_num=M model.head.norm_momentum=0.1
"""
_base_ = [
    '../_base_/models/pirl.py',
    '../_base_/datasets/imagenet_pirl.py',
    '../_base_/default_runtime.py',
]

# neither parameters of norms nor biases are decayed
optimizer = dict(
    type='SGD',
    lr=0.12,
    weight_decay=1e-4,
    momentum=0.9,
    paramwise_options=dict(norm_decay_mult=0., bias_decay_mult=0.))
optimizer_config = dict()
auto_scale_lr = dict(enable=False, base_batch_size=1024)

lr_config = dict(policy='CosineAnnealing', min_lr=0.00012)

runner = dict(type='EpochBasedRunner', max_epochs=800)
