# Copyright (c) mmssl contributors. All rights reserved.
"""Regression of the latents of a teacher."""
from torch.nn import functional as F

from .precision import in_float32


@in_float32
def latent_smooth_l1(pred, target, beta=1.):
    """Smooth L1 distance to normalised latents, as in I-JEPA's published code <https://arxiv.org/abs/2301.08243>.

    Args:
        pred (Tensor): ... x D.
        target (Tensor): ... x D, of the same shape. Each vector is brought to mean 0 and variance 1; no gradient.
        beta (float): Differences below it are squared and divided by 2 beta, larger ones count as they are, less
            beta / 2.

    Returns:
        Tensor: Mean over all numbers, 0-dim.
    """
    return F.smooth_l1_loss(pred, F.layer_norm(target.detach(), target.shape[-1:]), beta=beta)
