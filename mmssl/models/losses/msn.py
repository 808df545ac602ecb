# Copyright (c) mmssl contributors. All rights reserved.
"""Loss of MSN: masked views belong to the prototypes of the whole image, and all prototypes are used."""
import torch
from torch.nn import functional as F

from mmssl.utils.dist import all_reduce_sum_with_grad, get_world_size
from .precision import in_float32


@in_float32
def prototype_scores(z, prototypes):
    """Cosines of the angles between projections, ... x D, and prototypes, K x D; ... x K."""
    return F.normalize(z, dim=-1) @ F.normalize(prototypes, dim=-1).T


@in_float32
def masked_siamese(scores, targets, log_prior, temperature=0.1):
    """The two terms of MSN <https://arxiv.org/abs/2204.07141> (equation 1), or of PMSN.

    Args:
        scores (Tensor): Of the anchors of this process, V x B x K: B images in V views. Every process has the same B.
        targets (Tensor): Probabilities of the images, B x K; they get no gradient.
        log_prior (Tensor): Logarithm of how often each prototype shall be used, K.
        temperature (float): Divides the scores.

    Returns:
        tuple[Tensor, Tensor]: Cross-entropy, mean over views and images; and Kullback-Leibler divergence from the
        prior of the mean probabilities over the anchors of all processes, 0 where the mean is the prior. Both 0-dim.
    """
    log_p = (scores / temperature).log_softmax(-1)
    cross_entropy = -(targets.detach() * log_p).sum(-1).mean()
    # the mean over all processes has to pass on the gradient: each process holds a share of the batch
    mean = all_reduce_sum_with_grad(log_p.exp().mean((0, 1))) / get_world_size()  # K
    divergence = (mean * (mean.clamp(min=torch.finfo(mean.dtype).tiny).log() - log_prior)).sum()
    return cross_entropy, divergence
