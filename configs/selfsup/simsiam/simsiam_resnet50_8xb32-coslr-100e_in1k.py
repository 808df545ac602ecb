# Copyright (c) mmssl contributors. All rights reserved.
"""SimSiam (https://arxiv.org/abs/2011.10566), 100 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = [
    '../_base_/models/simsiam.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

# the predictor keeps the first learning rate to the end
lr = 0.05
optimizer = dict(lr=lr, paramwise_options={'predictor': dict(fix_lr=True)})
auto_scale_lr = dict(enable=False, base_batch_size=256)
custom_hooks = [dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=lr)]

runner = dict(max_epochs=100)
