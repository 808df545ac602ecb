# Copyright (c) mmssl contributors. All rights reserved.
"""Linear probe on folders of classes, as in the small-models evaluation (https://arxiv.org/abs/2107.14762).

Command:  tools/benchmarks/small_models/transfer.py CONFIG --checkpoint PRETRAIN --dataset FOLDER
"""
_base_ = ['_base_/folder.py', '_base_/linear.py', '../../../selfsup/_base_/default_runtime.py']
