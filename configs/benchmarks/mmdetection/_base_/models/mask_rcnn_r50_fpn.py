# Copyright (c) mmssl contributors. All rights reserved.
"""mmdet's model; nothing is frozen, and batch norms that see all GPUs stand in the heads too, as MoCo trains."""
from mmssl.downstream.base_configs import base_configs

_base_ = base_configs('mmdet', 'models/mask_rcnn_r50_fpn.py')

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm_cfg), mask_head=dict(norm_cfg=norm_cfg)))
