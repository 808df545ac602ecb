# Copyright (c) mmssl contributors. All rights reserved.
"""Cross-entropy of classification, and weights against classes of unequal size."""
import torch
from torch.nn import functional as F

from mmssl.utils.dist import reduce_mean
from .precision import in_float32


@in_float32
def cross_entropy(scores, labels, weight=None, label_smoothing=0., soft_labels=False):
    """Mean cross-entropy over the labelled samples of the global batch, 0 where there is none.

    The denominator is the mean over processes of their numbers of labelled samples, or of their summed weights, so that
    the mean of the processes' losses is the loss of all their samples together.

    Args:
        scores (Tensor): N x C.
        labels (Tensor): N integers (-1 = unlabelled), or with `soft_labels` also N x C floats.
        weight (Tensor, optional): Weight of each class, C; the mean is then weighted by those of the samples' labels.
        label_smoothing (float): Share e of each label that is spread over all classes: (1 - e) * label + e / C, of
            soft labels too (https://arxiv.org/abs/1512.00567, section 7).
        soft_labels (bool): Take shares of classes as labels. Without it floats are refused, as they may be the targets
            of several classes or of a regression.

    Returns:
        Tensor: 0-dim.

    Raises:
        ValueError: Labels of another kind or number, or weights with soft labels.
    """
    soft = soft_labels and labels.is_floating_point()
    if labels.shape != (scores.shape if soft else scores.shape[:1]) or labels.is_floating_point() and not soft:
        raise ValueError(
            f'scores of shape {tuple(scores.shape)} need {len(scores)} integers as labels (-1 = unlabelled)'
            f', or with soft_labels=True of the head the share of each class; got {labels.dtype} of shape '
            f'{tuple(labels.shape)}')
    if soft:
        if weight is not None:
            raise ValueError('class weights need labels that are integers, got soft labels')
        return F.cross_entropy(scores, labels, label_smoothing=label_smoothing)
    labels = labels.long()
    total = F.cross_entropy(scores, labels, weight, ignore_index=-1, reduction='sum', label_smoothing=label_smoothing)
    labelled = (labels >= 0).to(total.dtype)
    count = reduce_mean((labelled if weight is None else labelled * weight[labels.clamp(min=0)]).sum())
    return total / count.clamp(min=torch.finfo(count.dtype).tiny)


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
