# Copyright (c) mmssl contributors. All rights reserved.
"""Contrastive losses."""
import torch
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError
from .precision import in_float32


def check_several_images(number):
    """See that a batch of all processes to learn from has two images or more, where a loss compares them.

    An evaluation, which asks for no gradient, may end with one.

    Raises:
        ConfigError: It has one: the loss would be the same whatever the network gives.
    """
    if number < 2 and torch.is_grad_enabled():
        raise ConfigError(f'the loss compares the images of a batch with each other, the batch of all processes has '
                          f'{number}: set data.samples_per_gpu to 2 or more, and data.drop_last=True where one image '
                          'is left over')


@in_float32
def unit_vectors(x):
    """Rows of N x D divided by their lengths, in float32 whatever autocast says."""
    return F.normalize(x, dim=1)


@in_float32
def similarities(queries, keys):
    """Dot products of queries (N x D) and keys (K x D), N x K, in float32 whatever autocast says."""
    return queries @ keys.T


@in_float32
def info_nce(pos, neg, temperature=0.1):
    """InfoNCE: cross-entropy of picking the positive key among all keys.

    Args:
        pos (Tensor): Similarity of each query to its positive key, N x 1.
        neg (Tensor): Similarities to the negative keys, N x K; -inf leaves a key out.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over queries, 0-dim.
    """
    logits = torch.cat([pos, neg], dim=1) / temperature  # N x (1 + K), the right answer first
    return F.cross_entropy(logits, torch.zeros(len(pos), dtype=torch.long, device=pos.device))


def pairs_of_views(z, keys, first=0):
    """Similarities of two-view samples to their other view and to everything else.

    Args:
        z (Tensor): Normalised projections of this process, 2B x D: the first views above the second ones.
        keys (Tensor): Those of all processes, 2BW x D, in rank order.
        first (int): Row of `keys` where this process's own begin.

    Returns:
        tuple[Tensor, Tensor]: pos, 2B x 1, and neg, 2B x 2BW, where the entries of the sample itself and of its
        other view are -inf.

    Raises:
        ConfigError: The batch is one image, whose views have nothing to be told from.
    """
    check_several_images(len(keys) // 2)
    sim = similarities(z, keys)  # 2B x 2BW
    itself = torch.arange(len(z), device=z.device)
    other = itself.roll(len(z) // 2)
    pos = sim.gather(1, other[:, None] + first)
    own = torch.zeros_like(sim, dtype=torch.bool)
    own[itself, itself + first] = True
    own[itself, other + first] = True
    return pos, sim.masked_fill(own, -torch.inf)


def nt_xent(z, keys=None, first=0, temperature=0.1):
    """NT-Xent of SimCLR <https://arxiv.org/abs/2002.05709>: InfoNCE between the views of a batch.

    Only this process's projections are anchors; a mean over processes gives the loss of the whole batch.

    Args:
        z, keys, first: See pairs_of_views; without `keys` the batch is all there is.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over the 2B anchors, 0-dim.
    """
    return info_nce(*pairs_of_views(z, z if keys is None else keys, first), temperature=temperature)
