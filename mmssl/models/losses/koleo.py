# Copyright (c) mmssl contributors. All rights reserved.
"""Regularisation of DINOv2: the features of a batch shall be spread evenly."""
import torch

from mmssl.utils.dist import gather_with_grad, get_rank
from .contrastive import check_several_images, unit_vectors
from .precision import in_float32


@in_float32
def koleo(z, eps=1e-8, per_process=False):
    """Kozachenko and Leonenko's estimate of the entropy of unit vectors, negated (https://arxiv.org/abs/1806.03198,
    equation 2; DINOv2, https://arxiv.org/abs/2304.07193, section 4).

    Args:
        z (Tensor): Features, N x D, of any length; every process has the same N.
        eps (float): Added to the distances. Two equal images cost -ln(eps) at most, and the gradient of nearly equal
            ones stays below 1 / eps, which is much: see to few duplicates, or take 1e-4.
        per_process (bool): Look for the nearest features in the batch of this process alone, as published. The value
            then depends on the number of processes; by default it does not, and one image in each of two processes
            is enough.

    Returns:
        Tensor: Mean of -ln(distance to the nearest of the other features + eps) over this process's, 0-dim.

    Raises:
        ConfigError: There is no other image.
    """
    z = unit_vectors(z)
    everyone = z if per_process else gather_with_grad(z)
    check_several_images(len(everyone), 'one process' if per_process else 'all processes')
    with torch.no_grad():
        products = z @ everyone.T
        own = torch.arange(len(z), device=z.device) + (0 if per_process else get_rank() * len(z))
        nearest = products.scatter_(1, own[:, None], -torch.inf).argmax(1)
    return -((z - everyone[nearest]).norm(dim=1) + eps).log().mean()
