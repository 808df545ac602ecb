# Copyright (c) mmssl contributors. All rights reserved.
"""SEED (https://arxiv.org/abs/2101.04731) from MoCo v2's ResNet-50 to ResNet-18, 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/seed/seed_resnet18_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it. The teacher is a training with
          mocov2_resnet50_8xb32-coslr-800e_in1k, whose checkpoint model.teacher.checkpoint names; for another one change
          model.teacher and the last width of model.neck.
"""
_base_ = [
    '../_base_/models/seed_resnet18.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

# student and teacher see the same view
data = dict(
    train=dict(
        _delete_=True,
        type='SingleViewDataset',
        data_source={{_base_.data.train.data_source}},
        pipeline={{_base_.train_pipeline}},
        prefetch={{_base_.prefetch}}))
auto_scale_lr = dict(enable=False, base_batch_size=256)

lr_config = dict(
    policy='StepFixCosineAnnealing',
    by_epoch=False,
    warmup='linear',
    warmup_iters=5,
    warmup_ratio=1e-3,
    warmup_by_epoch=True)
