# Copyright (c) mmssl contributors. All rights reserved.
"""DINO (https://arxiv.org/abs/2104.14294) with ViT-S/16, 100 epochs of ImageNet, batch 512, as on one machine.

Command:  tools/dist_train.sh configs/selfsup/dino/dino_vit-small-p16_8xb64-mcrop-2-8-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; the authors published for such a training 74.0 % linear evaluation on ImageNet and
          69.3 % by 20 nearest neighbours.
"""
_base_ = 'dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e_in1k.py'

# the lengths of the prototypes and the temperature of the teacher stay, which is the authors' default
model = dict(neck=dict(norm_last_layer=True))
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine'),
]

optimizer = dict(lr=1e-3)
auto_scale_lr = dict(base_batch_size=512)

runner = dict(max_epochs=100)
