# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA: from some patches, a moving average's tokens of others are predicted, with ViT-H/14."""
model = dict(
    type='IJEPA',
    base_momentum=0.996,
    backbone=dict(type='IJEPAViT', arch='huge', img_size=224, patch_size=14),
    neck=dict(type='IJEPAPredictor', embed_dims=384, num_layers=12, num_heads=16),
    head=dict(type='IJEPAHead'),
    masks=dict(
        num_targets=4, target_share=(0.15, 0.2), target_aspect=(0.75, 1.5), context_share=(0.85, 1.), min_keep=10))
