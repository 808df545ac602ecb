# Copyright (c) mmssl contributors. All rights reserved.
"""BYOL for 100 epochs, batch 4096 in half precision: 2 steps of gradients a step of the weights.

Command:  tools/dist_train.sh configs/selfsup/byol/byol_resnet50_8xb256-fp16-accum2-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'byol_resnet50_16xb256-coslr-200e_in1k.py'

optimizer = dict(lr=7.2)
update_interval = 2
optimizer_config = dict(update_interval=update_interval)
custom_hooks = [dict(type='MomentumUpdateHook', end_momentum=1., update_interval=update_interval)]

runner = dict(max_epochs=100)

fp16 = dict(loss_scale=512.)
