# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction (https://arxiv.org/abs/1803.07728) of one random rotation an image, 105 epochs, batch 256.

Command:  tools/dist_train.sh configs/selfsup/rotation_pred/rotation-pred-one_resnet50_8xb32-steplr-105e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published for its recipe (rotnet_8gpu_resnet) 48.2 % linear evaluation on
          ImageNet, and 54.89 % after ImageNet-22k.

The learning rate is 0.1, a tenth of it after 30, 60, 90 and 100 epochs. Norms are not decayed. An image is cropped and
flipped before it is turned; VISSL turns it first, and black bars tell the angle. model.backbone.depth=101 makes it
VISSL's recipe for ResNet-101.
"""
_base_ = [
    '../_base_/models/rotation-pred.py',
    '../_base_/datasets/imagenet_rotation-pred-one.py',
    '../_base_/schedules/sgd_steplr-70e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(lr=0.1, paramwise_options=dict(norm_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(_delete_=True, policy='step', step=[30, 60, 90, 100])
runner = dict(max_epochs=105)
