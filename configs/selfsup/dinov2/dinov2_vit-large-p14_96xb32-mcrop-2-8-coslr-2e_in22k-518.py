# Copyright (c) mmssl contributors. All rights reserved.
"""The end of DINOv2's training of ViT-L/14, with crops of 518 pixels: 37 x 37 patches, as the released networks have.

Command:  tools/dist_train.sh configs/selfsup/dinov2/dinov2_vit-large-p14_96xb32-mcrop-2-8-coslr-2e_in22k-518.py 8 \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: 96 GPUs with 32 images each, here as twelve nodes; fewer, with fewer images each and a lower rate, do as well.
Known:    not trained with mmssl yet. It begins with the end of dinov2_vit-large-p14_96xb32-mcrop-2-8-coslr-135e_in22k:
          student, teacher, projectors and centres; positions are interpolated while they are loaded. According to the
          paper (appendix B.2) it takes 10,000 iterations, two epochs, in which all schedules run once more at a lower
          rate, which is not told; neither is the size of the small crops.
"""
_base_ = 'dinov2_vit-large-p14_96xb32-mcrop-2-8-coslr-135e_in22k.py'

load_from = 'work_dirs/dinov2_vit-large-p14_96xb32-mcrop-2-8-coslr-135e_in22k/latest.pth'

# the insides of layers are computed twice: they would not fit beside each other
model = dict(backbone=dict(img_size=518, with_cp=True))

colors = dict(type='RandomAppliedTrans', transforms={{_base_.color_pipeline}}, p=1.)
large1 = [
    dict(type='RandomResizedCrop', size=518, scale=(0.32, 1.), interpolation=3),
    colors,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=1.),
]
large2 = [
    dict(type='RandomResizedCrop', size=518, scale=(0.32, 1.), interpolation=3),
    colors,
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.1),
    dict(type='Solarization', p=0.2),
]
data = dict(train=dict(pipelines=[large1, large2, {{_base_.small}}]))

optimizer = dict(lr=5e-5)
lr_config = dict(warmup_iters=1600)
optimizer_config = dict(frozen_layers_cfg=dict(last_layer=20))

custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ScheduleHook', target='head.teacher_temp', start=0.04, end=0.07, epochs=0.13),
    dict(type='ScheduleHook', target='head.patch_teacher_temp', start=0.04, end=0.07, epochs=0.13),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.2, mode='cosine'),
]

runner = dict(max_epochs=2)
