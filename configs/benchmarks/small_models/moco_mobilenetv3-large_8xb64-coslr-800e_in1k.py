# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo for small networks (https://arxiv.org/abs/2107.14762): stronger augmentation, a wide projector, 800 epochs.

Command:  tools/dist_train.sh configs/benchmarks/small_models/moco_mobilenetv3-large_8xb64-coslr-800e_in1k.py 8
          The authors begin with weights that SEED distilled in a few epochs: tools/model_converters/seed_to_moco.py
          makes a file of them for --load-from, where the network is the same.
Hardware: 8 GPUs with 64 images each.
Others:   by --cfg-options model.backbone.model_name=NAME model.neck.in_channels=C model.neck.hid_channels=2C, with
          mobilenetv3_small_100 (C = 1024), efficientnet_b0 (1280), resnet18 (512), deit_tiny_patch16_224 (192).
Known:    not trained with mmssl yet. The authors publish instance discrimination (d-sd, negatives as in their code) of
          93.5 % for this network.
"""
_base_ = '../../selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(
    backbone=dict(_delete_=True, type='TIMMBackbone', model_name='mobilenetv3_large_100'),
    neck=dict(in_channels=1280, hid_channels=2560),
    head=dict(temperature=0.1))

train_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.)),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4)],
        p=0.8),
    dict(type='RandomGrayscale', p=0.5),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
    dict(type='RandomHorizontalFlip'),
]
data = dict(samples_per_gpu=64, workers_per_gpu=8, train=dict(pipelines=[train_pipeline]))

optimizer = dict(lr=0.06)
auto_scale_lr = dict(base_batch_size=512)
runner = dict(max_epochs=800)
