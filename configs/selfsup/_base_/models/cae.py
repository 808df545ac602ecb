# Copyright (c) mmssl contributors. All rights reserved.
"""CAE with ViT-B/16, under MMSelfSup's name of this file."""
_base_ = './cae_vit-base-p16.py'
