# Copyright (c) mmssl contributors. All rights reserved.
"""Cross-entropy of classification, and weights against classes of unequal size."""
import torch
from torch.nn import functional as F

from mmssl.utils.dist import reduce_mean
from .precision import in_float32


@in_float32
def cross_entropy(scores,
                  labels,
                  weight=None,
                  label_smoothing=0.,
                  soft_labels=False,
                  ignore_index=-1,
                  reduction='mean',
                  temperature=1.):
    """Cross-entropy over the labelled samples, by default its mean over those of the global batch, 0 if there is none.

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
        ignore_index (int): A label that counts as unlabelled, as -1 does.
        reduction (str): 'mean', 'sum' over the samples of this process, or 'none'.
        temperature (float): Divides the scores.

    Returns:
        Tensor: 0-dim; N losses, 0 for the unlabelled, without a reduction.

    Raises:
        ValueError: Labels of another kind or number, or weights with soft labels.
    """
    soft = soft_labels and labels.is_floating_point()
    if labels.shape != (scores.shape if soft else scores.shape[:1]) or labels.is_floating_point() and not soft:
        raise ValueError(
            f'scores of shape {tuple(scores.shape)} need {len(scores)} integers as labels (-1 = unlabelled)'
            f', or with soft_labels=True of the head the share of each class; got {labels.dtype} of shape '
            f'{tuple(labels.shape)}' + ('; several labels an image take loss=dict(type="MultiLabelLoss") of the head'
                                        if labels.shape == scores.shape and not labels.is_floating_point() else ''))
    scores = scores / temperature if temperature != 1 else scores
    if soft:
        if weight is not None:
            raise ValueError('class weights need labels that are integers, got soft labels')
        return F.cross_entropy(scores, labels, label_smoothing=label_smoothing, reduction=reduction)
    labels = labels.long()
    labels = torch.where(labels == ignore_index, -1, labels) if ignore_index != -1 else labels
    summed = 'none' if reduction == 'none' else 'sum'
    loss = F.cross_entropy(scores, labels, weight, ignore_index=-1, reduction=summed, label_smoothing=label_smoothing)
    if reduction != 'mean':
        return loss
    labelled = (labels >= 0).to(loss.dtype)
    count = reduce_mean((labelled if weight is None else labelled * weight[labels.clamp(min=0)]).sum())
    return loss / count.clamp(min=torch.finfo(count.dtype).tiny)


@in_float32
def multi_label_cross_entropy(scores, targets, reduction='class_mean', pos_weight=None, soft_labels=False):
    """Binary cross-entropy of each class on its own, where an image has several.

    Denominators count the targets of all processes, so that the mean of the processes' losses is that of all samples.

    Args:
        scores (Tensor): N x C, before the sigmoid.
        targets (Tensor): N x C integers: above 0 where the class is in the image, 0 where not, -1 where that is left
            open; or N integers, one class an image (-1 leaves all of it open); with `soft_labels` also N x C floats
            from 0 to 1.
        reduction (str): 'class_mean': mean over the known targets of each class, summed over classes; 'mean' over all
            known targets; 'sum' over those of this process; 'none'.
        pos_weight (Tensor, optional): Weight of the positives of each class, C.
        soft_labels (bool): Take floats as targets.

    Returns:
        Tensor: 0-dim; without a reduction N x C, 0 where the target is open.

    Raises:
        ValueError: Targets of another shape, or floats without `soft_labels`.
    """
    soft = soft_labels and targets.is_floating_point()
    if targets.dim() == 1 and not targets.is_floating_point():
        classes = torch.arange(scores.shape[1], device=targets.device)  # one_hot() would wait for the device
        targets = torch.where(targets[:, None] >= 0, (targets[:, None] == classes).long(), -1)
    if targets.shape != scores.shape or targets.is_floating_point() and not soft:
        raise ValueError(f'scores of shape {tuple(scores.shape)} need as many integers as targets (1, 0, or -1 = left '
                         f'open), or with soft_labels=True shares; got {targets.dtype} of shape {tuple(targets.shape)}')
    known = (targets >= 0).to(scores.dtype)
    wanted = targets if soft else (targets > 0).to(scores.dtype)
    loss = known * F.binary_cross_entropy_with_logits(scores, wanted, pos_weight=pos_weight, reduction='none')
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    dims = 0 if reduction == 'class_mean' else (0, 1)
    count = reduce_mean(known.sum(dims))
    return (loss.sum(dims) / count.clamp(min=torch.finfo(count.dtype).tiny)).sum()


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
