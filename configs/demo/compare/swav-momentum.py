# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV on digits with codes from a momentum encoder."""
_base_ = 'swav.py'

# with momentum 0.99 the codes lag too far behind in 880 iterations
model = dict(type='SwAVMomentum', momentum=0.9)
