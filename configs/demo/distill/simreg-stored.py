# Copyright (c) mmssl contributors. All rights reserved.
"""SimReg from features that the teacher computed once, of whole images: the student's crops are mild."""
_base_ = 'simreg.py'

model = dict(teacher=dict(_delete_=True, features='work_dirs/distill/features'))
data = dict(
    train=dict(pipeline=[dict(type='RandomResizedCrop', size=28, scale=(
        0.7, 1.0)), dict(type='RandomHorizontalFlip')]))
