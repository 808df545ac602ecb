# Copyright (c) mmssl contributors. All rights reserved.
"""Noise-contrastive estimation, the loss of NPID."""
import math

import torch
from torch.nn import functional as F

from .precision import in_float32


@in_float32
def log_partition(pos, neg, length, temperature=0.07):
    """Estimate of the logarithm of NPID's partition constant Z, from the scores of one batch.

    Z is the sum of exp(similarity / temperature) over all `length` entries of the memory. The entries that were scored
    stand for all of them: Z is `length` times the mean of their exponentials. Computed as a log-sum-exp, which no
    temperature makes overflow.

    Args:
        pos (Tensor): Similarity of each image to its own entry, N x 1.
        neg (Tensor): Similarities to the entries that were drawn, N x K.
        length (int): Number of entries of the memory.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: ln Z, 0-dim, without gradient.
    """
    scores = torch.cat([pos, neg], dim=1).detach().flatten() / temperature
    return scores.logsumexp(0) + math.log(length / len(scores))


@in_float32
def nce(pos, neg, log_z, length, temperature=0.07):
    """Noise-contrastive estimate of NPID <https://arxiv.org/abs/1805.01978>: tell an image's entry from drawn ones.

    With s = exp(similarity / T) / Z, the probability of an entry under the softmax over the whole memory, and the
    uniform noise distribution 1 / length, K entries of which are drawn, the loss of an image is

        -ln( s_pos / (s_pos + K / length) ) - sum over the negatives of ln( (K / length) / (s_neg + K / length) )

    These are logistic losses of similarity / T - ln Z - ln(K / length), which is how they are computed: neither
    quotient overflows, so that no small number need be added to the denominators.

    Args:
        pos (Tensor): Similarity of each image to its own entry, N x 1.
        neg (Tensor): Similarities to the K entries that were drawn for it, N x K.
        log_z (Tensor | float): Logarithm of the partition constant, see log_partition.
        length (int): Number of entries of the memory.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over images of the sum over entries, 0-dim.
    """
    shift = log_z + math.log(neg.shape[1] / length)
    own, others = F.softplus(shift - pos / temperature), F.softplus(neg / temperature - shift)  # N x 1, N x K
    return (own.sum() + others.sum()) / len(pos)
