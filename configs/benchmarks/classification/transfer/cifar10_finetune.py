# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning on CIFAR-10, as in the small-models evaluation (https://arxiv.org/abs/2107.14762).

Command:  tools/benchmarks/small_models/transfer.py CONFIG --checkpoint PRETRAIN --dataset cifar10 --finetune
"""
_base_ = ['_base_/cifar10.py', '_base_/finetune.py', '../../../selfsup/_base_/default_runtime.py']

model = dict(head=dict(num_classes=10))

# bolder crops, where the network can adapt to them
data = dict(
    train=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.), interpolation='bicubic'),
        dict(type='RandomHorizontalFlip'),
    ]))
