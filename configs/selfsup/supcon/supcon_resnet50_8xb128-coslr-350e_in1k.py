# Copyright (c) mmssl contributors. All rights reserved.
"""SupCon (https://arxiv.org/abs/2004.11362), 350 epochs of ImageNet with its labels, batch 1024.

Command:  tools/dist_train.sh configs/selfsup/supcon/supcon_resnet50_8xb128-coslr-350e_in1k.py 8
Hardware: 8 GPUs with 128 images each.
Known:    not trained with mmssl yet. The authors published 79.1 % linear evaluation on ImageNet with a queue of MoCo,
          and 78.7 % with batches of 6144 and AutoAugment; this is their recipe of CIFAR at SimCLR's views.
Data:     for images of your own in a folder for each class
          --cfg-options data.train.data_source.data_prefix=FOLDER data.train.data_source.ann_file=None
"""
_base_ = [
    '../_base_/models/supcon.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=128, train=dict(with_label=True))

optimizer = dict(lr=0.5)
auto_scale_lr = dict(enable=False, base_batch_size=1024)
lr_config = dict(warmup='linear', warmup_iters=10, warmup_ratio=0.02, warmup_by_epoch=True)

runner = dict(max_epochs=350)
