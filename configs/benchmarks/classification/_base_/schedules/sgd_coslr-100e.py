# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, half a cosine over 100 epochs."""
optimizer = dict(type='SGD', lr=0.3, momentum=0.9, weight_decay=1e-6)
optimizer_config = dict()

lr_config = dict(policy='CosineAnnealing', min_lr=0.)

runner = dict(type='EpochBasedRunner', max_epochs=100)
