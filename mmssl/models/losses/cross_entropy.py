# Copyright (c) mmssl contributors. All rights reserved.
"""Cross-entropy of classification, and weights against classes of unequal size."""
import torch
from torch.nn import functional as F

from mmssl.utils.dist import reduce_mean
from .precision import in_float32


@in_float32
def cross_entropy(scores, labels, weight=None, label_smoothing=0.):
    """Mean cross-entropy over the labelled samples, 0 where there is none.

    Args:
        scores (Tensor): N x C.
        labels (Tensor): N integers (-1 = unlabelled), or soft labels N x C.
        weight (Tensor, optional): Weight of each class, C. The mean is then weighted by those of the samples' labels,
            and it is that of the global batch: its denominator is the mean over processes of their summed weights, so
            that the mean of the processes' losses is the loss of all their samples together.
        label_smoothing (float): Share e of each label that is spread over all classes: (1 - e) * label + e / C, of
            soft labels too (https://arxiv.org/abs/1512.00567, section 7).

    Returns:
        Tensor: 0-dim.

    Raises:
        ValueError: Weights with soft labels.
    """
    if labels.is_floating_point():
        if weight is not None:
            raise ValueError('class weights need labels that are integers, got soft labels')
        return F.cross_entropy(scores, labels, label_smoothing=label_smoothing)
    total = F.cross_entropy(scores, labels, weight, ignore_index=-1, reduction='sum', label_smoothing=label_smoothing)
    if weight is None:
        return total / (labels >= 0).sum().clamp(min=1)
    summed = (weight[labels.clamp(min=0)] * (labels >= 0)).sum()
    return total / reduce_mean(summed).clamp(min=torch.finfo(summed.dtype).tiny)


def balanced_weights(counts, power=0.5):
    """Weights of classes that fall with their sizes.

    Args:
        counts (Tensor): Number of samples in each class, C.
        power (float): How strongly: 0 treats classes alike, 1 makes up for their sizes.

    Returns:
        Tensor: counts ** -power, 0 for classes without samples, scaled to sum 1; C, float.
    """
    counts = counts if counts.is_floating_point() else counts.float()
    weights = torch.where(counts > 0, counts.clamp(min=1)**-power, 0.)
    return weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
