# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with two crops of 224 pixels alone, from 8 % of the area on.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50_64xb64-2crops-coslr-400e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 69.53 % linear evaluation on ImageNet for this recipe.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
large = [dict(type='RandomResizedCrop', size=224, scale=(0.08, 1.)), color]
data = dict(train=dict(num_views=[2], pipelines=[large]))
