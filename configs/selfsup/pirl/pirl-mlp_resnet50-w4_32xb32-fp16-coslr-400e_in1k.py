# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL with a ResNet-50 of 4 times the width, two layers in each projector and the InfoNCE loss.

Command:  tools/dist_train.sh configs/selfsup/pirl/pirl-mlp_resnet50-w4_32xb32-fp16-coslr-400e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published with it.
Folder:   M negatives where 32000 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.neg_num=M

400 epochs. VISSL's overlay models=resnet50_w4_mlphead has the activation of the projector outside its arguments, and
fails.
"""
_base_ = 'pirl_resnet50_32xb32-coslr-800e_in1k.py'

model = dict(
    backbone=dict(width_multiplier=4),
    neck=dict(channels=[8192, 128]),
    patch_neck=dict(necks=[
        dict(type='MLPNeck', channels=[8192, 128], with_last_act=True),
        dict(type='ConcatTowers', num_towers=9),
        dict(type='MLPNeck', channels=[128]),
    ]),
    head=dict(_delete_=True, type='ContrastiveHead', temperature=0.1))

fp16 = dict(loss_scale='dynamic')
runner = dict(max_epochs=400)
