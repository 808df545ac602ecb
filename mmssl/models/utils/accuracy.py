# Copyright (c) mmssl contributors. All rights reserved.
"""Top-k accuracy as percent."""
import torch
from mmcv.runner import BaseModule

from mmssl.utils.dist import reduce_mean


@torch.no_grad()
def accuracy(pred, target, topk=1, over_processes=False):
    """Share of samples whose label is among the k highest scores, in percent.

    Args:
        pred (Tensor): Scores, N x C.
        target (Tensor): Labels, N (-1 = unlabelled, left out), or soft labels, N x C floats, whose largest entry
            counts, or several labels an image, N x C integers: a hit is a score whose entry is above 0, and images
            without such an entry are left out.
        topk (int | tuple[int]): Each k; more than C counts as C.
        over_processes (bool): Divide by the mean of the processes' numbers of labelled samples, so that the mean of
            the processes' results is the accuracy of all their samples.

    Returns:
        Tensor | list[Tensor]: A 0-dim tensor, or one for each k of a tuple.
    """
    ks = (topk, ) if isinstance(topk, int) else topk
    if target.dim() == 2 and target.is_floating_point():
        target = target.argmax(1)
    highest = pred.topk(min(max(ks), pred.shape[1]), dim=1).indices  # N x max(k), best first
    if target.dim() == 2:
        hits, known = (target > 0).gather(1, highest), (target > 0).any(1)
    else:
        hits, known = highest == target[:, None], target >= 0
    count = known.float().sum()
    count = reduce_mean(count) if over_processes else count
    share = 100 / count.clamp(min=torch.finfo(count.dtype).tiny)
    results = [hits[:, :k].any(1).sum() * share for k in ks]
    return results[0] if isinstance(topk, int) else results


class Accuracy(BaseModule):
    """Module around `accuracy`.

    Args:
        topk (tuple[int] | int): Each k.
    """

    def __init__(self, topk=(1, )):
        super().__init__()
        self.topk = topk

    def forward(self, pred, target):
        return accuracy(pred, target, self.topk)
