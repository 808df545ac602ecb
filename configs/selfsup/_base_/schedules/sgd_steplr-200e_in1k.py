# Copyright (c) mmssl contributors. All rights reserved.
"""SGD, a tenth of the rate after 120 and 160 of 200 epochs, for a batch of 256."""
optimizer = dict(type='SGD', lr=0.03, weight_decay=1e-4, momentum=0.9)
optimizer_config = dict()

lr_config = dict(policy='step', step=[120, 160])

runner = dict(type='EpochBasedRunner', max_epochs=200)
