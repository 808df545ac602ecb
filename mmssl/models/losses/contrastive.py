# Copyright (c) mmssl contributors. All rights reserved.
"""Contrastive losses."""
import torch
from torch.nn import functional as F

from mmssl.utils.dist import reduce_mean
from mmssl.utils.errors import ConfigError
from .precision import in_float32


def check_several_images(number, whose='all processes'):
    """See that a batch of all processes to learn from has two images or more, where a loss compares them.

    An evaluation, which asks for no gradient, may end with one.

    Raises:
        ConfigError: It has one: the loss would be the same whatever the network gives.
    """
    if number < 2 and torch.is_grad_enabled():
        raise ConfigError(f'the loss compares the images of a batch with each other, the batch of {whose} has '
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

    Where a query has several positive keys, each is picked from itself and the negatives alone: the other positives are
    not in its denominator.

    Args:
        pos (Tensor): Similarity of each query to its P positive keys, N x P.
        neg (Tensor): Similarities to the negative keys, N x K; -inf leaves a key out.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over queries and positive keys, 0-dim.
    """
    if pos.shape[1] == 1:
        logits = torch.cat([pos, neg], dim=1) / temperature  # N x (1 + K), the right answer first
        return F.cross_entropy(logits, torch.zeros(len(pos), dtype=torch.long, device=pos.device))
    # -log(e^p / (e^p + sum of e^n)) = -log sigmoid(p - log sum of e^n): the negatives are summed once for all positives
    negatives = (neg / temperature).logsumexp(1, keepdim=True)  # N x 1
    return -F.logsigmoid(pos / temperature - negatives).mean()


@in_float32
def decoupled_info_nce(pos, neg, temperature=0.1, weight=1.):
    """DCL <https://arxiv.org/abs/2110.06848>: InfoNCE whose denominator holds the negative keys alone.

    The gradient of an easy image does not vanish in a small batch as that of InfoNCE does. The loss may be negative.

    Args:
        pos, neg, temperature: See info_nce.
        weight (Tensor | float): Of the positive similarities, N x P.

    Returns:
        Tensor: Mean over queries and positive keys, 0-dim.
    """
    return ((neg / temperature).logsumexp(1, keepdim=True) - weight * pos / temperature).mean()


@in_float32
def weights_of_hard_pairs(pos, sigma=0.5):
    """Weights of DCLW <https://arxiv.org/abs/2110.06848>: 2 - e^(s / sigma) / its mean over the batch.

    They are 1 on the average, more for views that are far from each other, and less, also below 0, for near ones.

    Args:
        pos (Tensor): Similarities s of the views of each image, N x P. Every process has the same N.
        sigma (float): Divides them; the larger, the more equal the weights.

    Returns:
        Tensor: N x P, without gradient. The mean of each column is over all processes.
    """
    shares = (pos.detach() / sigma).exp()
    return 2 - shares / reduce_mean(shares.mean(0))


@in_float32
def supervised_contrastive(z, keys, groups, key_groups, first=0, temperature=0.1):
    """SupCon <https://arxiv.org/abs/2004.11362>, equation 2: all keys of the anchor's group are positive.

    Args:
        z (Tensor): Unit vectors of this process, the anchors, N x D.
        keys (Tensor): Those of all processes in rank order, M x D, the anchors among them.
        groups (Tensor): Number of each anchor's group, such as its class; N integers.
        key_groups (Tensor): Those of the keys, M integers.
        first (int): Row of `keys` where the anchors begin.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over the anchors, 0-dim. One without a positive key adds 0.
    """
    logits = z @ keys.T / temperature  # N x M
    itself = torch.zeros_like(logits, dtype=torch.bool)
    itself[:, first:first + len(z)].fill_diagonal_(True)
    positive = (groups[:, None] == key_groups) & ~itself
    log_share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    return -(log_share.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp(min=1)).mean()


def pairs_of_views(z, keys, first=0, views=2):
    """Similarities of samples to their other views and to everything else.

    Args:
        z (Tensor): Normalised projections of B images of this process, VB x D: those of the first view above those of
            the second, and so on.
        keys (Tensor): Those of all processes, VBW x D, in rank order.
        first (int): Row of `keys` where this process's own begin.
        views (int): Number V of views of an image.

    Returns:
        tuple[Tensor, Tensor]: pos, VB x (V - 1), and neg, VB x VBW, where the entries of the sample itself and of its
        other views are -inf.

    Raises:
        ConfigError: The batch is one image, whose views have nothing to be told from.
    """
    check_several_images(len(keys) // views)
    sim = similarities(z, keys)  # VB x VBW
    # column v: the view of the same image v views further on, in a circle; column 0 is the sample itself
    steps = torch.arange(views, device=z.device) * (len(z) // views)
    own = (torch.arange(len(z), device=z.device)[:, None] + steps) % len(z) + first  # VB x V
    return sim.gather(1, own[:, 1:]), sim.scatter(1, own, -torch.inf)


def nt_xent(z, keys=None, first=0, temperature=0.1, views=2):
    """NT-Xent of SimCLR <https://arxiv.org/abs/2002.05709>: InfoNCE between the views of a batch.

    Only this process's projections are anchors; a mean over processes gives the loss of the whole batch. With more than
    two views each other view of the image is a positive key with a denominator of its own.

    Args:
        z, keys, first, views: See pairs_of_views; without `keys` the batch is all there is.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over the VB anchors and their V - 1 positive keys, 0-dim.
    """
    return info_nce(*pairs_of_views(z, z if keys is None else keys, first, views), temperature=temperature)
