# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV on digits with codes from a momentum encoder."""
_base_ = 'swav.py'

# momentum 0.99 averages over 100 iterations, of which there are 880 here. At epsilon 0.05 codes stay uniform for long,
# and the loss at the logarithm of 60
model = dict(type='SwAVMomentum', momentum=0.9, head=dict(epsilon=0.02))
