# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL with a ResNet-50 of 2 times the width, 400 epochs.

Command:  tools/dist_train.sh configs/selfsup/pirl/pirl_resnet50-w2_32xb32-fp16-coslr-400e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; the project page of PIRL gives 69.3 % linear evaluation on ImageNet. VISSL's
          overlay models=resnet50_w2.
"""
_base_ = 'pirl_resnet50_32xb32-coslr-800e_in1k.py'

model = dict(backbone=dict(width_multiplier=2))

fp16 = dict(loss_scale='dynamic')
runner = dict(max_epochs=400)
