# Copyright (c) mmssl contributors. All rights reserved.
"""NPID with its noise-contrastive loss on digits."""
_base_ = 'npid.py'

model = dict(ensure_neg=True, head=dict(_delete_=True, type='NCEHead', temperature=0.1))
