# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL for 200 epochs.

Command:  tools/dist_train.sh configs/selfsup/pirl/pirl_resnet50_32xb32-coslr-200e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published for its recipe (epochs_200) 62.55 % linear evaluation on
          ImageNet, and the project page of PIRL 62.9 %.
"""
_base_ = 'pirl_resnet50_32xb32-coslr-800e_in1k.py'

runner = dict(max_epochs=200)
