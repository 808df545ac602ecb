# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA (https://arxiv.org/abs/2301.08243) with ViT-H/14, 300 epochs of ImageNet, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/ijepa/ijepa_vit-huge-p14_16xb128-coslr-300e_in1k.py 8
Hardware: 16 GPUs of 80 GB with 128 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors trained less than 72 hours on 16 A100.
"""
_base_ = [
    '../_base_/models/ijepa_vit-huge-p14.py',
    '../_base_/datasets/imagenet_ijepa.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=128, workers_per_gpu=10)

# neither biases nor norms decay
optimizer = dict(lr=1e-3, weight_decay=0.04, paramwise_options=dict(flat_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=2048)
# from 2e-4 on
lr_config = dict(policy='StepFixCosineAnnealing', warmup_iters=40, warmup_ratio=0.2, min_lr=1e-6)

custom_hooks = [
    dict(type='MomentumUpdateHook', mode='linear'),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
]

amp = dict(dtype='bfloat16')
