# Copyright (c) mmssl contributors. All rights reserved.
"""BYOL (https://arxiv.org/abs/2006.07733), 200 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/byol/byol_resnet50_16xb256-coslr-200e_in1k.py 8
Hardware: 16 GPUs with 256 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/byol.py',
    '../_base_/datasets/imagenet_byol.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=256)

# both count iterations: the target network moves when the weights do
update_interval = 1
optimizer_config = dict(update_interval=update_interval)
auto_scale_lr = dict(enable=False, base_batch_size=4096)
custom_hooks = [dict(type='MomentumUpdateHook', end_momentum=1., update_interval=update_interval)]
