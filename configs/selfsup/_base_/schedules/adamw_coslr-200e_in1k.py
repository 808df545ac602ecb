# Copyright (c) mmssl contributors. All rights reserved.
"""AdamW with the figures of MAE for a batch of 256, forty epochs of warm-up, cosine decay over 200 epochs."""
_base_ = './adamw_coslr-300e_in1k.py'

optimizer = dict(lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05)

runner = dict(max_epochs=200)
