# Copyright (c) mmssl contributors. All rights reserved.
"""What every recipe shares, under MMSelfSup's name of this file."""
_base_ = '../../../selfsup/_base_/default_runtime.py'
