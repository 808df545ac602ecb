# Copyright (c) mmssl contributors. All rights reserved.
"""Barlow Twins (https://arxiv.org/abs/2103.03230) (VISSL: barlow_twins_4node_resnet), 1000 epochs, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/barlowtwins/vissl-barlowtwins_resnet50_32xb64-coslr-1000e_in1k.py 8
Hardware: 32 GPUs with 64 images each, here as 4 nodes: NNODES=4 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 71.80 % linear evaluation on ImageNet for this recipe.

The learning rate rises from 0 to 1.6 in 10 epochs and falls to 0.016 along a cosine. VISSL's code begins at 0.4 on 4
nodes, where its config says 0. Norms and biases take 0.024 of the rate and no trust ratio, which is what a loss
scaled by 0.024 comes to. Colours vary as in the paper; VISSL varies saturation by 0.4 instead of 0.2.
"""
_base_ = 'barlowtwins_resnet50_8xb256-coslr-300e_in1k.py'

data = dict(samples_per_gpu=64)

lr_config = dict(
    _delete_=True,
    policy='StepFixCosineAnnealing',
    by_epoch=False,
    min_lr=0.016,
    warmup='linear',
    warmup_iters=10,
    warmup_ratio=1e-4,
    warmup_by_epoch=True)

runner = dict(max_epochs=1000)
