# Copyright (c) mmssl contributors. All rights reserved.
"""Linear probe of the small-models evaluation: SGD on unit features of a frozen network.

tools/benchmarks/small_models/transfer.py puts the network of the pre-training in the place of this one.
"""
model = dict(
    type='Classification',
    freeze_backbone=True,
    backbone=dict(type='ResNet', depth=50, in_channels=3, out_indices=[4], norm_cfg=dict(type='BN')),
    head=dict(type='ClsHead', with_avg_pool=True, with_l2_norm=True, in_channels=2048, num_classes=1000))

# for a batch of 256 over all processes
optimizer = dict(type='SGD', lr=1.5, momentum=0.9, weight_decay=0.)
optimizer_config = dict()
lr_config = dict(policy='step', step=[40])
runner = dict(type='EpochBasedRunner', max_epochs=60)
