# Copyright (c) mmssl contributors. All rights reserved.
"""Losses on the angle between predictions and targets."""
from .contrastive import unit_vectors
from .precision import in_float32


@in_float32
def negative_cosine(pred, target):
    """Minus the cosine of the angle between rows, mean over rows; the target gets no gradient.

    Args:
        pred (Tensor): N x D.
        target (Tensor): N x D.

    Returns:
        Tensor: From -1 (same direction) to 1, 0-dim.
    """
    return -(unit_vectors(pred) * unit_vectors(target.detach())).sum(1).mean()
