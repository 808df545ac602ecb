# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV on one machine with a batch of 256 and a queue (VISSL: bs64_4gpu), 400 epochs.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50_4xb64-mcrop-2-6-coslr-400e_in1k-224-96.py 4
Hardware: 4 GPUs with 64 images each.
Known:    not trained with mmssl yet; VISSL published 74.3 % linear evaluation on ImageNet for this recipe.

The learning rate falls from 0.6 to 0.0006 along a cosine, without warm-up.
"""
_base_ = 'vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py'

custom_hooks = [dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=15, queue_length=3840)]

optimizer = dict(lr=0.6)
auto_scale_lr = dict(base_batch_size=256)

lr_config = dict(min_lr=6e-4, warmup=None)
