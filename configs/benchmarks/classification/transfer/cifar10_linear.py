# Copyright (c) mmssl contributors. All rights reserved.
"""Linear probe on CIFAR-10, as in the small-models evaluation (https://arxiv.org/abs/2107.14762).

Command:  tools/benchmarks/small_models/transfer.py CONFIG --checkpoint PRETRAIN --dataset cifar10
"""
_base_ = ['_base_/cifar10.py', '_base_/linear.py', '../../../selfsup/_base_/default_runtime.py']

model = dict(head=dict(num_classes=10))
