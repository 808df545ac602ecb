# Copyright (c) mmssl contributors. All rights reserved.
"""SimReg (BMVC 2021) from MoCo v2's ResNet-50 to ResNet-18, 130 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/simreg/simreg_resnet18_8xb32-coslr-130e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; the authors published 65.1 % linear evaluation on ImageNet for such a training.
          model.teacher.checkpoint names any checkpoint of a ResNet-50; for another network change
          model.teacher.backbone and the last width of model.neck.
"""
_base_ = [
    '../_base_/models/simreg_resnet18.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
prefetch = True
# weak views, the same for student and teacher
data = dict(
    train=dict(
        type='SingleViewDataset',
        pipeline=[dict(type='RandomResizedCrop', size=224, scale=(
            0.2, 1.)), dict(type='RandomHorizontalFlip')],
        prefetch=prefetch))

optimizer = dict(lr=0.05)
auto_scale_lr = dict(enable=False, base_batch_size=256)
runner = dict(max_epochs=130)
