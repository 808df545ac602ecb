# Copyright (c) mmssl contributors. All rights reserved.
"""Losses on the angle between predictions and targets."""
from torch.nn import functional as F

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
    return -(F.normalize(pred, dim=1) * F.normalize(target.detach(), dim=1)).sum(1).mean()
