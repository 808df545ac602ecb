# Copyright (c) mmssl contributors. All rights reserved.
"""mmdet's C4 model with a ResNet of PyTorch's kind; nothing is frozen, and batch norms see all GPUs, as MoCo trains."""
from mmssl.downstream.base_configs import base_configs

_base_ = base_configs('mmdet', 'models/mask_rcnn_r50_caffe_c4.py')

norm_cfg = dict(type='SyncBN', requires_grad=True)
init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet50')
model = dict(
    backbone=dict(frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False, style='pytorch', init_cfg=init_cfg),
    roi_head=dict(
        shared_head=dict(
            type='ResLayerExtraNorm', style='pytorch', norm_cfg=norm_cfg, norm_eval=False, init_cfg=init_cfg)))
