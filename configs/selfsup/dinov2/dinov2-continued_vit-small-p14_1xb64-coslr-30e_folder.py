# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2 continued from the published ViT-S/14 on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/dinov2/dinov2-continued_vit-small-p14_1xb64-coslr-30e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU of 24 GB or more.
Known:    a starting point for data of one's own of some thousand images. It begins with dinov2_vits14.pth, which
          tools/model_converters/convert.py dinov2_vits14_pretrain.pth dinov2_vits14.pth --to mmssl makes of the
          authors' file. They keep the projectors to themselves: these begin at random, and the backbone waits for them
          in the first two epochs. Compare with the network as published (knn, few labels):
          more of the same images is not always better.
"""
_base_ = 'dinov2_vit-large-p16_32xb64-mcrop-2-8-coslr-200e_in1k.py'

model = dict(
    base_momentum=0.998,
    backbone=dict(
        arch='deit-small',
        # positions of 37 x 37 patches, as published, which are interpolated for each crop
        img_size=518,
        patch_size=14,
        layer_cfgs=dict(drop_path_rate=0.1),
        drop_path_subset=False,
        init_cfg=dict(type='Pretrained', checkpoint='dinov2_vits14.pth')),
    neck=dict(out_channels=8192, norm_last_layer=True),
    head=dict(targets='sinkhorn'))

small = [
    dict(type='RandomResizedCrop', size=98, scale=(0.05, 0.32), interpolation=3),
    dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]
data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(
        num_views=[1, 1, 4],
        pipelines=[{{_base_.train_pipeline1}}, {{_base_.train_pipeline2}}, small],
        data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=1e-4)
lr_config = dict(warmup_iters=3)
optimizer_config = dict(frozen_layers_cfg=dict(_delete_=True, backbone='2 epochs'))
auto_scale_lr = dict(base_batch_size=64)

custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='CollapseMonitorHook', interval=10, part='backbone'),
]

runner = dict(max_epochs=30)
amp = dict(dtype='bfloat16')

log_config = dict(interval=10)
