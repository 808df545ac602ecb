# Copyright (c) mmssl contributors. All rights reserved.
"""Relational distillation from DINOv2's ViT-S/14 to ResNet-18, 100 epochs of ImageNet, batch 128.

Command:  python tools/train.py \
              configs/selfsup/relational_distillation/relational-distill_resnet18-dinov2_1xb128-coslr-100e_in1k.py
Hardware: one GPU.
Known:    not trained with mmssl yet, and no result was published with it. The queue is to be shorter than the data.
          timm fetches the teacher's weights; a file of yours goes to model.teacher.backbone.checkpoint_path, with
          pretrained=False.
"""
_base_ = [
    '../_base_/models/relational-distillation_resnet18.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/adamw_coslr-300e_in1k.py',
    '../_base_/default_runtime.py',
]

# student and teacher see the same view
data = dict(
    samples_per_gpu=128,
    train=dict(
        _delete_=True,
        type='SingleViewDataset',
        data_source={{_base_.data.train.data_source}},
        pipeline={{_base_.train_pipeline}},
        prefetch={{_base_.prefetch}}))

optimizer = dict(lr=5e-4, weight_decay=0.04)
auto_scale_lr = dict(enable=False, base_batch_size=128)
lr_config = dict(warmup_iters=5)
runner = dict(max_epochs=100)
