# Copyright (c) mmssl contributors. All rights reserved.
"""NNCLR (https://arxiv.org/abs/2104.14548), 200 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/nnclr/nnclr_resnet50_8xb64-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet. The authors trained for 1000 epochs with batches of 4096 and published 75.6 %
          linear evaluation on ImageNet. They published no code; the rate is 0.3 for each 256 images, as others take.
"""
_base_ = [
    '../_base_/models/nnclr.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64)

optimizer = dict(lr=0.6)
auto_scale_lr = dict(enable=False, base_batch_size=512)
