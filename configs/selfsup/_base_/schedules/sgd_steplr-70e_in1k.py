# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, five epochs of warm-up, a tenth of the rate after 30 and 50 of 70 epochs."""
optimizer = dict(type='SGD', lr=0.2, weight_decay=1e-4, momentum=0.9)
optimizer_config = dict()

lr_config = dict(policy='step', step=[30, 50], warmup='linear', warmup_iters=5, warmup_ratio=0.1, warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=70)
