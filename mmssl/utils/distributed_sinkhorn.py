# Copyright (c) mmssl contributors. All rights reserved.
"""Codes of SwAV: an assignment of samples to prototypes that uses all prototypes alike."""
import math

import torch

from .dist import all_reduce_max, all_reduce_sum, get_world_size


@torch.no_grad()
def distributed_sinkhorn(out, sinkhorn_iterations, world_size, epsilon, shares=None):
    """Sinkhorn-Knopp over the samples of all processes (SwAV, https://arxiv.org/abs/2006.09882, section 3.1).

    The matrix exp(out / epsilon) is scaled so that all columns have one sum, then so that all rows have one, and so on
    by turns. Only the factors of rows and columns are computed, by a product of the matrix and a vector each, and the
    matrix is written once at the end. Each process holds its own rows, of any number; the sums over columns are added
    up over processes in every iteration. Computed in float32 (float64 stays), whatever autocast says.

    Args:
        out (Tensor): Scores of N samples for K prototypes, N x K.
        sinkhorn_iterations (int): How often columns and rows are scaled.
        world_size (int): Number of processes.
        epsilon (float): Divides the scores; the smaller, the harder the codes.
        shares (Tensor, optional): What each prototype shall get of all samples relative to the others, K; the same for
            each where it is left out.

    Returns:
        Tensor: Codes, N x K. Each row has the sum 1. A prototype for which every score vanishes in float32 gets 0;
        where a score is NaN, in any process, all codes are NaN.

    Raises:
        ValueError: No iteration, an epsilon that is not positive, or another number of processes than there are.
    """
    if sinkhorn_iterations < 1 or not epsilon > 0:
        raise ValueError('Sinkhorn needs at least 1 iteration and a positive epsilon, got '
                         f'sinkhorn_iterations={sinkhorn_iterations!r} and epsilon={epsilon!r}')
    if world_size != get_world_size():
        raise ValueError(f'world_size is {world_size!r}, there are {get_world_size()} processes')
    with torch.autocast(out.device.type, enabled=False):
        scores = out.to(torch.promote_types(out.dtype, torch.float32)) / epsilon
        # each row is taken relative to its own maximum, so that none vanishes, and `rows` holds what that took away:
        # together they are exp(scores - maximum of all scores)
        largest = scores.amax(1)  # N
        matrix = scores.sub_(largest[:, None]).exp_()  # N x K
        none = largest.new_full((1, ), -math.inf)  # of a process that has no rows
        rows = (largest - all_reduce_max(torch.cat([largest, none]).amax())).exp()
        for _ in range(sinkhorn_iterations):
            # a common factor of all columns makes no difference, and without one they would grow or fall by K / N in
            # each iteration, until float32 has no number for them
            sums = all_reduce_sum(rows @ matrix)  # K
            columns = 1 / (sums / sums.mean()).clamp(min=1e-30)
            if shares is not None:
                columns = columns * shares
            # a common factor of all rows makes no difference to the next step, nor to the codes
            rows = 1 / (matrix @ columns)
        return matrix.mul_(columns).mul_(rows[:, None])
