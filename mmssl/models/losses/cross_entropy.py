# Copyright (c) mmssl contributors. All rights reserved.
"""Cross-entropy of classification."""
from torch.nn import functional as F

from .precision import in_float32


@in_float32
def cross_entropy(scores, labels):
    """Mean cross-entropy over the labelled samples, 0 where there is none.

    Args:
        scores (Tensor): N x C.
        labels (Tensor): N integers (-1 = unlabelled), or soft labels N x C.

    Returns:
        Tensor: 0-dim.
    """
    if labels.is_floating_point():
        return F.cross_entropy(scores, labels)
    return F.cross_entropy(scores, labels, ignore_index=-1, reduction='sum') / (labels >= 0).sum().clamp(min=1)
