# Copyright (c) mmssl contributors. All rights reserved.
"""Loss of Barlow Twins."""
from mmssl.utils.dist import all_reduce_sum_with_grad, gather_with_grad, get_world_size
from .contrastive import check_several_images
from .precision import in_float32


@in_float32
def cross_correlation(z_1, z_2, normalise):
    """The terms of Barlow Twins <https://arxiv.org/abs/2103.03230>, equation 1, over the batches of all processes.

    With C = z_1^T z_2 / N, D x D, the sum of all C_ij^2 is that of (z_1 z_1^T) * (z_2 z_2^T) / N^2, N x N: at 8192
    dimensions C itself would be 256 MB, as would its squares, its gradient and what the processes exchange. Each
    process computes the rows of its own samples.

    Args:
        z_1, z_2 (Tensor): Projections of the two views, N x D. Every process has the same N.
        normalise (Callable): Gives each column of N x D the mean 0 and the variance 1 over the batch of all processes.

    Returns:
        tuple[Tensor, Tensor]: The invariance term, sum of (C_ii - 1)^2, and the redundancy term, sum of C_ij^2 over
        i != j; 0-dim.

    Raises:
        ConfigError: The batch of all processes is one image, which has no variance.
    """
    check_several_images(len(z_1) * get_world_size())
    # each view on its own: the statistics of both together would leave their difference in
    z_1, z_2 = normalise(z_1), normalise(z_2)
    all_1, all_2 = gather_with_grad(z_1), gather_with_grad(z_2)
    size = len(all_1)
    diagonal = all_reduce_sum_with_grad((z_1 * z_2).sum(0)) / size  # D
    squares = all_reduce_sum_with_grad(((z_1 @ all_1.T) * (z_2 @ all_2.T)).sum()) / size**2
    return (diagonal - 1).square().sum(), squares - diagonal.square().sum()
