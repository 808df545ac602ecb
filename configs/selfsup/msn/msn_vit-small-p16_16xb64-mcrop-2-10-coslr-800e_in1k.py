# Copyright (c) mmssl contributors. All rights reserved.
"""MSN (https://arxiv.org/abs/2204.07141) with ViT-S/16, 800 epochs of ImageNet, batch 1024.

Command:  tools/dist_train.sh configs/selfsup/msn/msn_vit-small-p16_16xb64-mcrop-2-10-coslr-800e_in1k.py 8
Hardware: 16 GPUs with 64 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors published such a network. Their schedules are those of 1,000 epochs,
          broken off at 800: here so for weight decay and momentum; the learning rate ends with the training.
"""
_base_ = [
    '../_base_/models/msn_vit-small-p16.py',
    '../_base_/datasets/imagenet_msn.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64, workers_per_gpu=10)

# neither biases and norms nor prototypes decay
optimizer = dict(
    lr=1e-3, weight_decay=0.04, paramwise_options=dict(flat_decay_mult=0., prototypes=dict(weight_decay=0.)))
optimizer_config = dict(grad_clip=dict(max_norm=3.))
auto_scale_lr = dict(enable=False, base_batch_size=1024)
# from 2e-4 on
lr_config = dict(policy='StepFixCosineAnnealing', warmup_iters=15, warmup_ratio=0.2, min_lr=1e-6)

custom_hooks = [
    dict(type='MomentumUpdateHook', mode='linear', end_momentum=0.9992),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, epochs=1000, mode='cosine'),
]

runner = dict(max_epochs=800)
