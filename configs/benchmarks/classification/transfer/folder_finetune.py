# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning on folders of classes, as in the small-models evaluation (https://arxiv.org/abs/2107.14762).

Command:  tools/benchmarks/small_models/transfer.py CONFIG --checkpoint PRETRAIN --dataset FOLDER --finetune
"""
_base_ = ['_base_/folder.py', '_base_/finetune.py', '../../../selfsup/_base_/default_runtime.py']

# bolder crops, where the network can adapt to them
data = dict(
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.), interpolation='bicubic'),
        dict(type='RandomHorizontalFlip'),
    ]))
