# Copyright (c) mmssl contributors. All rights reserved.
"""Jigsaw (https://arxiv.org/abs/1603.09246) as in VISSL, 105 epochs of ImageNet, 2000 permutations, batch 256.

Command:  tools/dist_train.sh configs/selfsup/jigsaw/jigsaw_resnet50_8xb32-steplr-105e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published for its recipe (jigsaw_8gpu_resnet) 46.73 % linear
          evaluation on ImageNet.

The learning rate is 0.1, after five epochs of warm-up from 0.025. On one machine VISSL's scaling of the learning rate
drops that warm-up, which its recipe evidently means.
"""
_base_ = [
    '../_base_/models/jigsaw.py',
    '../_base_/datasets/imagenet_jigsaw.py',
    '../_base_/default_runtime.py',
]

# parameters of norms are not decayed
optimizer = dict(type='SGD', lr=0.1, weight_decay=1e-4, momentum=0.9, paramwise_options=dict(norm_decay_mult=0.))
optimizer_config = dict()
auto_scale_lr = dict(enable=False, base_batch_size=256)

lr_config = dict(
    policy='step', step=[30, 60, 90, 100], warmup='linear', warmup_iters=5, warmup_ratio=0.25, warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=105)
