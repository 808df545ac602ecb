# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg (https://arxiv.org/abs/2105.04906), 100 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/vicreg/vicreg_resnet50_8xb64-coslr-100e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'vicreg_resnet50_32xb64-coslr-1000e_in1k.py'

# 0.3 for each 256 images: the authors' rate for this length
optimizer = dict(lr=0.6)
auto_scale_lr = dict(base_batch_size=512)
lr_config = dict(min_lr=0.0006)

runner = dict(max_epochs=100)
