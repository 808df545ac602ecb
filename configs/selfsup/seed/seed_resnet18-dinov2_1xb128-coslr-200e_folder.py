# Copyright (c) mmssl contributors. All rights reserved.
"""SEED from DINOv2's ViT-S/14 to ResNet-18 on any folder of photographs, on one machine.

Command:  python tools/train.py configs/selfsup/seed/seed_resnet18-dinov2_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own of some thousand images. timm fetches the teacher's weights; a file of
          yours goes to model.teacher.backbone.checkpoint_path, with pretrained=False. The queue is to be smaller than
          the number of images.
"""
_base_ = 'seed_resnet18_8xb32-coslr-200e_in1k.py'

model = dict(
    queue_len=4096,
    neck=dict(channels=[512, 384]),
    teacher=dict(
        _delete_=True,
        backbone=dict(
            type='TIMMBackbone', model_name='vit_small_patch14_dinov2', pretrained=True, dynamic_img_size=True)))

data = dict(
    samples_per_gpu=128,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=0.015)
auto_scale_lr = dict(base_batch_size=128)

log_config = dict(interval=10)
