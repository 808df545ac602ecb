# Copyright (c) mmssl contributors. All rights reserved.
"""Swin-B for fine-tuning, under MMSelfSup's name of this file."""
_base_ = './swin-base_ft.py'
