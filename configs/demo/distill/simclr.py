# Copyright (c) mmssl contributors. All rights reserved.
"""The student by itself: SimCLR, as its teacher was trained."""
_base_ = '_base_.py'
