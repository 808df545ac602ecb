# Copyright (c) mmssl contributors. All rights reserved.
"""LARS, half a cosine over 90 epochs."""
optimizer = dict(type='LARS', lr=1.6, momentum=0.9, weight_decay=0.)
optimizer_config = dict()

lr_config = dict(policy='CosineAnnealing', min_lr=0.)

runner = dict(type='EpochBasedRunner', max_epochs=90)
