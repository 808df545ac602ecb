# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with DeiT-B/16 as VISSL trains it (vision_transformer/swav/deit_b_2nodes), two crops, 300 epochs, batch 256.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_deit-base-p16_16xb16-2crops-coslr-300e_in1k.py 8
Hardware: 16 GPUs with 16 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result of it is known.

The learning rate, 0.0005 for 512 images, rises from 0.000125 to 0.00025 in 15 epochs and falls to 5e-7 along a cosine:
the figures that VISSL makes of its config on two nodes. Norms, positions and class token have no weight decay.
The prototypes stay for 313 iterations, as in the recipes for batches of 4096, where that is an epoch. The network has
DeiT-B's 12 heads, VISSL's config 16.

VISSL mixes images as well, by mixup or cutmix. What these do to labels does not apply to SwAV, and they are left out.
data.collate=dict(type='MixupCrops', alpha=1.0) with samples_per_gpu=32 is mixup without labels: of 32 images that are
read the network gets 16, so that an epoch has half as many iterations. There is no cutmix without labels.
"""
_base_ = [
    '../_base_/models/swav.py',
    '../_base_/datasets/imagenet_swav_mcrop-2-6.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

# RandAugment as of timm: twice one operation with probability 0.5, at nine tenths of its strength; no spread of it here
augment = dict(type='RandomAppliedTrans', transforms=[dict(type='RandAugment', num_ops=1, magnitude=27)], p=0.5)
train_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.14, 1.)),
    dict(type='RandomHorizontalFlip'),
    augment,
    augment,
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
    dict(type='RandomErasing', p=0.25),
]
data = dict(samples_per_gpu=16, train=dict(num_views=[2], pipelines=[train_pipeline]))

# DINO's network has the learned positions that VISSL's has; the norm of the projector is each GPU's own
model = dict(
    backbone=dict(_delete_=True, type='DINOViT', arch='deit-base', img_size=224, patch_size=16, drop_path_rate=0.1),
    neck=dict(
        _delete_=True,
        type='MLPNeck',
        channels=[2048, 128],
        norm_cfg=dict(type='BN'),
        with_l2norm=True,
        vit_backbone=True))

optimizer = dict(
    lr=2.5e-4,
    weight_decay=0.05,
    paramwise_options=dict(norm_decay_mult=0., pos_embed=dict(weight_decay=0.), cls_token=dict(weight_decay=0.)))
optimizer_config = dict(frozen_layers_cfg=dict(prototypes=313))
auto_scale_lr = dict(enable=False, base_batch_size=256)

lr_config = dict(policy='StepFixCosineAnnealing', min_lr=5e-7, warmup_iters=15, warmup_ratio=0.5)
