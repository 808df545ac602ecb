# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of the small-models evaluation: SGD on everything, from pre-trained weights."""
_base_ = 'linear.py'

model = dict(freeze_backbone=False)
optimizer = dict(lr=0.01)
lr_config = dict(step=[40, 70])
runner = dict(max_epochs=100)
