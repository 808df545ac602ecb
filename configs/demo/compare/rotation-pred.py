# Copyright (c) mmssl contributors. All rights reserved.
"""Rotation prediction on digits."""
_base_ = '_single_view.py'

model = dict(
    _delete_=True,
    type='RotationPred',
    backbone={{_base_.model.backbone}},
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=128, num_classes=4))
data = dict(train=dict(type='RotationPredDataset'))
# the last stage serves the task itself; the one before it is the more general one, as the papers found
demo = dict(layer='stage3')
