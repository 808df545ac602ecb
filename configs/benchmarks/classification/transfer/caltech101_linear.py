# Copyright (c) mmssl contributors. All rights reserved.
"""Linear probe on Caltech-101, as in the small-models evaluation (https://arxiv.org/abs/2107.14762).

Command:  tools/benchmarks/small_models/transfer.py CONFIG --checkpoint PRETRAIN --dataset caltech101
"""
_base_ = ['_base_/caltech101.py', '_base_/linear.py', '../../../selfsup/_base_/default_runtime.py']

model = dict(head=dict(num_classes=101))
