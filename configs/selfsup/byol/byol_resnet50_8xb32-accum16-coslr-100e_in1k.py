# Copyright (c) mmssl contributors. All rights reserved.
"""BYOL for 100 epochs, batch 4096: 16 steps of gradients a step of the weights.

Command:  tools/dist_train.sh configs/selfsup/byol/byol_resnet50_8xb32-accum16-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'byol_resnet50_16xb256-coslr-200e_in1k.py'

data = dict(samples_per_gpu=32)

optimizer = dict(lr=7.2)
update_interval = 16
optimizer_config = dict(update_interval=update_interval)
custom_hooks = [dict(type='MomentumUpdateHook', end_momentum=1., update_interval=update_interval)]

runner = dict(max_epochs=100)
