# Copyright (c) mmssl contributors. All rights reserved.
"""mmseg's FCN on a ResNet of torchvision's kind, which is what is pre-trained here; its own has a deep stem."""
from mmssl.downstream.base_configs import base_configs

_base_ = base_configs('mmseg', 'models/fcn_r50-d8.py')

model = dict(
    pretrained=None,
    backbone=dict(type='ResNet', init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')))
