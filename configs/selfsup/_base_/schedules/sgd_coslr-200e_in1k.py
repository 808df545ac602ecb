# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, cosine decay to zero over 200 epochs, for a batch of 256."""
optimizer = dict(type='SGD', lr=0.03, weight_decay=1e-4, momentum=0.9)
optimizer_config = dict()

lr_config = dict(policy='CosineAnnealing', min_lr=0.)

runner = dict(type='EpochBasedRunner', max_epochs=200)
