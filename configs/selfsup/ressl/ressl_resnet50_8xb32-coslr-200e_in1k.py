# Copyright (c) mmssl contributors. All rights reserved.
"""ReSSL (https://arxiv.org/abs/2107.09282), 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/ressl/ressl_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; the authors published 69.9 % linear evaluation on ImageNet for this training. The
          view of the teacher comes first in data.train.pipelines.
"""
_base_ = [
    '../_base_/models/ressl.py',
    '../_base_/datasets/imagenet_ressl.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(
    lr=0.05,
    paramwise_options={
        r'(bn|ln|gn)(\d+)?.(weight|bias)': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.)
    })
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(by_epoch=False, warmup='linear', warmup_iters=5, warmup_ratio=1e-4, warmup_by_epoch=True)
