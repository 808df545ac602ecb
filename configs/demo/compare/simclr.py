# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR on digits."""
_base_ = '_base_.py'
