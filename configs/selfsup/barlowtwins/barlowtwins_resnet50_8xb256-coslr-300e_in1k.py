# Copyright (c) mmssl contributors. All rights reserved.
"""Barlow Twins (https://arxiv.org/abs/2103.03230), 300 epochs of ImageNet, batch 2048.

Command:  tools/dist_train.sh configs/selfsup/barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py 8
Hardware: 8 GPUs with 256 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 71.66 % linear evaluation on
          ImageNet (the layer is not stated).
"""
_base_ = [
    '../_base_/models/barlowtwins.py',
    '../_base_/datasets/imagenet_byol.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=256)

# norm layers and biases learn at a rate of their own. The paper decays all other weights by 1.5e-6
norm_and_bias = dict(weight_decay=0., lr_mult=0.024, lars_exclude=True)
optimizer = dict(
    lr=1.6,
    paramwise_options={
        '(bn|gn)(\\d+)?.(weight|bias)': norm_and_bias,
        'bias': norm_and_bias,
        'downsample.1': norm_and_bias,
    })
auto_scale_lr = dict(enable=False, base_batch_size=2048)

lr_config = dict(min_lr=0.0016, warmup_ratio=1.6e-4, by_epoch=False)

runner = dict(max_epochs=300)
