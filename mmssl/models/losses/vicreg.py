# Copyright (c) mmssl contributors. All rights reserved.
"""Loss of VICReg."""
import torch

from mmssl.utils.dist import all_reduce_sum_with_grad, gather_with_grad
from .contrastive import check_several_images
from .precision import in_float32


def variance_and_covariance(z, everyone, eps):
    """Terms of one view; see variance_invariance_covariance.

    Args:
        z (Tensor): Projections of this process, N x D.
        everyone (Tensor): Those of all processes, M x D.
        eps (float): Added to the variances.

    Returns:
        tuple[Tensor, Tensor]: 0-dim each.
    """
    size, dims = everyone.shape
    mean = everyone.mean(0)
    z, everyone = z - mean, everyone - mean
    variances = everyone.square().sum(0) / (size - 1)
    variance = (1 - (variances + eps).sqrt()).relu().mean()
    if dims <= size:
        squares = (everyone.T @ everyone).square().sum()
    else:
        # the sum of all C_ij^2 is that of the squared products of samples: M x M instead of D x D
        squares = all_reduce_sum_with_grad((z @ everyone.T).square().sum())
    return variance, (squares / (size - 1)**2 - variances.square().sum()) / dims


@in_float32
def variance_invariance_covariance(z_1, z_2, eps=1e-4):
    """The terms of VICReg <https://arxiv.org/abs/2105.04906>, equations 1 to 6, over the batches of all processes.

    Args:
        z_1, z_2 (Tensor): Projections of the two views, N x D. Every process has the same N.
        eps (float): Added to the variances, so that their roots have a slope at 0.

    Returns:
        tuple[Tensor, Tensor, Tensor]: The invariance, the mean of (z_1 - z_2)^2; the variance, the mean over dimensions
        of max(0, 1 - standard deviation), and the covariance, the sum of C_ij^2 over i != j divided by D. The variance
        is the mean of both views, as in the authors' code, where the paper has their sum; the covariance is their sum.

    Raises:
        ConfigError: The batch of all processes is one image, which has no variance.
    """
    all_1, all_2 = gather_with_grad(z_1), gather_with_grad(z_2)
    check_several_images(len(all_1))
    variance_1, covariance_1 = variance_and_covariance(z_1, all_1, eps)
    variance_2, covariance_2 = variance_and_covariance(z_2, all_2, eps)
    invariance = torch.nn.functional.mse_loss(z_1, z_2)
    return invariance, (variance_1 + variance_2) / 2, covariance_1 + covariance_2
