# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on iNaturalist 2018 of the stem and each stage.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = [
    '../_base_/models/resnet50_multihead.py',
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/schedules/nesterov_steplr-84e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=8142))
checkpoint_config = dict(interval=1)
auto_scale_lr = dict(enable=False, base_batch_size=256)
