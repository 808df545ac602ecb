# Copyright (c) mmssl contributors. All rights reserved.
"""Losses of masked image modelling: what was hidden is predicted, and only that counts."""
import torch

from mmssl.utils.dist import reduce_mean
from .precision import in_float32


def _mean_of_masked(errors, mask):
    """Mean of the errors (B x ...) where the mask is 1, over the global batch.

    The processes may have masked unlike numbers of tokens: with the mean of these numbers as denominator, the mean of
    the processes' losses is the loss of all their images together.
    """
    mask = mask.to(errors.dtype)
    count = reduce_mean(mask.sum())
    return (errors * mask).sum() / count.clamp(min=torch.finfo(count.dtype).tiny)


@in_float32
def masked_mse(pred, target, mask=None):
    """Mean squared error of masked tokens, as in MAE <https://arxiv.org/abs/2111.06377> and MaskFeat
    <https://arxiv.org/abs/2112.09133>.

    Args:
        pred (Tensor): B x L x D.
        target (Tensor): B x L x D.
        mask (Tensor, optional): B x L, 1 or True for a masked token; by default all are.

    Returns:
        Tensor: Mean over D and over the masked tokens of all processes, 0 where there is none; 0-dim.
    """
    errors = (pred - target).square().mean(2)  # B x L
    return errors.mean() if mask is None else _mean_of_masked(errors, mask)


@in_float32
def masked_l1(pred, target, mask):
    """Mean absolute error of masked pixels, as in SimMIM <https://arxiv.org/abs/2111.09886>, equation 1.

    The published code adds 1e-5 to the number of masked pixels; here no pixel gives 0 without it.

    Args:
        pred (Tensor): Images, B x C x H x W.
        target (Tensor): B x C x H x W.
        mask (Tensor): B x h x w, 1 or True for a masked patch of H/h x W/w pixels.

    Returns:
        Tensor: Mean over channels and over the masked pixels of all processes, 0 where there is none; 0-dim.
    """
    rows, columns = mask.shape[1:]
    errors = (pred - target).abs().mean(1)  # B x H x W
    errors = errors.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).mean((2, 4))  # B x h x w
    return _mean_of_masked(errors, mask)


@in_float32
def patch_statistics(patches):
    """Mean and standard deviation of each patch, by which MAE normalises its targets (`norm_pix`).

    Args:
        patches (Tensor): B x L x D.

    Returns:
        tuple[Tensor, Tensor]: Both B x L x 1; the deviation is the root of the unbiased variance plus 1e-6.
    """
    var, mean = torch.var_mean(patches, 2, keepdim=True)
    return mean, (var + 1e-6).sqrt()
