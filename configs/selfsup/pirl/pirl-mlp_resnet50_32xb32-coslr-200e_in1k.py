# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL with two layers in each projector and the InfoNCE loss, 200 epochs.

Command:  tools/dist_train.sh configs/selfsup/pirl/pirl-mlp_resnet50_32xb32-coslr-200e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; the project page of PIRL gives 65.8 % linear evaluation on ImageNet. VISSL's
          overlay models=resnet50_mlphead.
Folder:   M negatives where 32000 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.neg_num=M
"""
_base_ = 'pirl_resnet50_32xb32-coslr-800e_in1k.py'

model = dict(
    neck=dict(channels=[2048, 128]),
    patch_neck=dict(necks=[
        dict(type='MLPNeck', channels=[2048, 128], with_last_act=True),
        dict(type='ConcatTowers', num_towers=9),
        dict(type='MLPNeck', channels=[128]),
    ]),
    head=dict(_delete_=True, type='ContrastiveHead', temperature=0.1))
runner = dict(max_epochs=200)
