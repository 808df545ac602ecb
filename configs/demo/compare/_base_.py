# Copyright (c) mmssl contributors. All rights reserved.
"""Hand-written digits for the comparison of algorithms: one backbone, one budget, views as in the demo."""
_base_ = '../simclr_digits.py'

# halving the maps at once costs a quarter, and hardly any accuracy
model = dict(backbone=dict(strides=(2, 2, 2, 2)))
data = dict(samples_per_gpu=128)
runner = dict(max_epochs=80)
amp = None  # so small a network gains nothing by it
log_config = dict(_delete_=True, interval=11, hooks=[dict(type='TextLoggerHook')])  # iterations of an epoch
custom_hooks = []
work_dir = None

# features of the images as they are, for algorithms that cluster
extractor = dict(
    samples_per_gpu=256,
    workers_per_gpu=0,
    dataset={{_base_.demo.train}},
    prefetch={{_base_.prefetch}},
    img_norm_cfg={{_base_.img_norm_cfg}})
