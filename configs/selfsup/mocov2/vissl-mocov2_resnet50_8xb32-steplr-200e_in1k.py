# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v2 (https://arxiv.org/abs/2003.04297) as VISSL trains it (moco_1node_resnet), 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/mocov2/vissl-mocov2_resnet50_8xb32-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published 66.4 % linear evaluation on ImageNet for this recipe.

The learning rate is 0.03, 0.003 and 0.0003. The paper's recipe is mocov2_resnet50_8xb32-coslr-200e_in1k, with crops
from 20 % of the area on, a cosine and no nesterov; VISSL calls this one the authors', but it is not. Residual
branches begin at zero, which VISSL's config asks for and its code does not do.
"""
_base_ = 'mocov2_resnet50_8xb32-coslr-200e_in1k.py'

color = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
data = dict(train=dict(pipelines=[[dict(type='RandomResizedCrop', size=224, scale=(0.08, 1.)), color]]))

model = dict(backbone=dict(zero_init_residual=True))

optimizer = dict(nesterov=True)

lr_config = dict(_delete_=True, policy='step', step=[120, 160])
