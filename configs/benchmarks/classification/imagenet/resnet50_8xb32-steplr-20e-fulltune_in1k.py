# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of everything on ImageNet: a tenth of the supervised rate, since the weights are good.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
"""
_base_ = 'resnet50_8xb32-steplr-90e_in1k.py'

optimizer = dict(lr=0.01, paramwise_options={r'\Ahead.': dict(lr_mult=10)})
lr_config = dict(step=[12, 16])
runner = dict(max_epochs=20)
