# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL with the colours and the blur of SimCLR, which are not in the paper.

Command:  tools/dist_train.sh configs/selfsup/pirl/pirl-gblur_resnet50_32xb32-coslr-800e_in1k.py 8
Hardware: 32 GPUs with 32 images each, here as four nodes: NNODES=4 NODE_RANK=0|1|2|3 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published with it. VISSL's overlay transforms=photo_gblur.
"""
_base_ = 'pirl_resnet50_32xb32-coslr-800e_in1k.py'

# the colours and the blur of each piece are drawn on their own
train_pipeline = [
    dict(type='ImageAndPatches', size=224, scale=(0.08, 1.), patch_size=255, patch_scale=(0.6, 1.), num_patches=9),
    dict(type='RandomHorizontalFlip'),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)],
        p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]
data = dict(train=dict(pipeline=train_pipeline))
