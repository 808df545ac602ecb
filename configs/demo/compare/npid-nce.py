# Copyright (c) mmssl contributors. All rights reserved.
"""NPID with its noise-contrastive loss on digits."""
_base_ = 'npid.py'

# with the constant of the first batch it does not learn here, see docs/en/algorithms.md
model = dict(ensure_neg=True, head=dict(_delete_=True, type='NCEHead', temperature=0.1, norm_momentum=0.1))
