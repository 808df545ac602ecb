# Copyright (c) mmssl contributors. All rights reserved.
"""Regularisation of LeJEPA: projections shall be normally distributed."""
import torch

from mmssl.utils.dist import all_reduce_sum_with_grad, get_world_size
from .precision import in_float32


@in_float32
def sigreg(z, directions, knots=17, largest=3.):
    """Sketched isotropic Gaussian regularisation (LeJEPA, https://arxiv.org/abs/2511.08544).

    The batch is projected on random directions. The characteristic function of each projection is compared to that of
    a standard normal distribution by the test of Epps and Pulley, an integral over its argument t:
    N * integral of |mean of exp(i t y) - exp(-t^2 / 2)|^2 * exp(-t^2 / 2) dt. The value grows with the batch.

    Args:
        z (Tensor): Projections of this process, V x B x D: B images in V views. Every process has the same B.
        directions (Tensor): Unit columns, D x M, the same on all processes.
        knots (int): Number of values of t, from 0 to `largest`; the integrand is even, so the other half is counted by
            doubling.
        largest (float): The largest t.

    Returns:
        Tensor: Mean over views and directions, over the batch of all processes; 0-dim.
    """
    t = torch.linspace(0, largest, knots, device=z.device, dtype=z.dtype)
    normal = (-t.square() / 2).exp()
    weights = torch.full_like(t, 2 * largest / (knots - 1))  # trapezoids over -largest to largest
    weights[0] /= 2
    weights[-1] /= 2
    angles = (z @ directions)[..., None] * t  # V x B x M x T
    total = z.shape[1] * get_world_size()
    # the mean over all processes has to pass on the gradient: each process holds a share of the batch
    real, imaginary = all_reduce_sum_with_grad(torch.stack([angles.cos().sum(1), angles.sin().sum(1)])) / total
    distance = (real - normal).square() + imaginary.square()  # V x M x T
    return total * (distance * (weights * normal)).sum(2).mean()
