# Copyright (c) mmssl contributors. All rights reserved.
"""CAE (https://arxiv.org/abs/2202.03026) with ViT-B/16, 300 epochs of ImageNet, batch 2048 in half precision.

Command:  tools/dist_train.sh configs/selfsup/cae/cae_vit-base-p16_16xb128-fp16-coslr-300e_in1k.py 8
Hardware: 16 GPUs with 128 images each, here as two nodes: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=...
Known:    not trained with mmssl yet; MMSelfSup published 83.2 % of fine-tuning on ImageNet for 300 epochs.

The weights of DALL-E's encoder, a state dict, are expected in cae_ckpt/dalle_encoder.pth; model.head.tokenizer_path
names another place.
"""
_base_ = [
    '../_base_/models/cae_vit-base-p16.py',
    '../_base_/datasets/imagenet_cae.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(
    lr=1.5e-3,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    paramwise_options={
        'norm': dict(weight_decay=0.),
        # published without it: the norms of the layers, ln1 and ln2, have no 'norm' in their names and were decayed
        'ln': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.),
        'gamma': dict(weight_decay=0.)
    })
optimizer_config = dict(grad_clip=dict(max_norm=3.0))
auto_scale_lr = dict(enable=False, base_batch_size=2048)

lr_config = dict(policy='StepFixCosineAnnealing', min_lr=1e-5, warmup_iters=10)

fp16 = dict(loss_scale='dynamic')
