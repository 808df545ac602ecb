# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2 (https://arxiv.org/abs/2304.07193) with ViT-L/14 as the authors trained it on ImageNet-22k, batch 3072.

Command:  tools/dist_train.sh configs/selfsup/dinov2/dinov2_vit-large-p14_96xb32-mcrop-2-8-coslr-135e_in22k.py 8 \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: 96 GPUs with 32 images each, here as twelve nodes: NNODES=12 NODE_RANK=0..11 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors published for such a training 84.5 % linear evaluation on ImageNet and
          82.0 % by 20 nearest neighbours, after 3.3 days on 96 A100. Their 625,000 iterations are 135 times the 14.2
          million images of ImageNet-22k. The released networks saw 142 million others, some of them with
          model.backbone.num_registers=4.
"""
_base_ = [
    '../_base_/models/dinov2_vit-large-p16.py',
    '../_base_/datasets/imagenet_dinov2_mcrop-2-8.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    base_momentum=0.994,
    backbone=dict(patch_size=14, layer_cfgs=dict(drop_path_rate=0.4)),
    # class tokens and patches have a projector each
    neck=dict(
        _delete_=True,
        type='DINONeck',
        channels=[2048, 2048, 384],
        out_channels=131072,
        norm_last_layer=False,
        vit_backbone=True),
    patch_neck=dict(type='DINONeck', channels=[2048, 2048, 256], out_channels=131072, norm_last_layer=False),
    head=dict(targets='sinkhorn'))

# small crops of 7 x 7 patches
small = [
    dict(type='RandomResizedCrop', size=98, scale=(0.05, 0.32), interpolation=3),
    dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]
data = dict(
    samples_per_gpu=32,
    train=dict(
        data_source=dict(_delete_=True, type='Folder', data_prefix='data/imagenet22k'),
        pipelines=[{{_base_.train_pipeline1}}, {{_base_.train_pipeline2}}, small]))

# 2e-4 for a batch of 1024, by the root of the batch
optimizer = dict(lr=3.464e-4, weight_decay=0.04, paramwise_options=dict(flat_decay_mult=0., patch_embed_mult=0.2))
lr_config = dict(policy='StepFixCosineAnnealing', warmup_iters=100000, warmup_by_epoch=False, min_lr=1e-6)
optimizer_config = dict(grad_clip=dict(max_norm=3.0, per='part'), frozen_layers_cfg=dict(last_layer=1250))
auto_scale_lr = dict(enable=False, base_batch_size=3072)

# 8 epochs are the authors' 37,500 iterations
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='head.teacher_temp', start=0.04, end=0.07, epochs=8),
    dict(type='ScheduleHook', target='head.patch_teacher_temp', start=0.04, end=0.07, epochs=8),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.2, mode='cosine'),
]

runner = dict(max_epochs=135)
amp = dict(dtype='float16')
