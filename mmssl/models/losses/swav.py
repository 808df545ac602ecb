# Copyright (c) mmssl contributors. All rights reserved.
"""Loss of SwAV."""
import torch

from .precision import in_float32


@in_float32
def swapped_prediction(scores, codes, crops_for_assign, temperature=0.1):
    """The code of one crop is predicted from the others (SwAV, https://arxiv.org/abs/2006.09882, equations 1 and 6).

    Args:
        scores (Tensor): Dot products of V crops of B images with K prototypes, V x B x K.
        codes (Tensor): Codes of A of these crops, A x B x K; they get no gradient.
        crops_for_assign (Sequence[int]): Which A of the V crops these are.
        temperature (float): Divides the scores.

    Returns:
        Tensor: Mean over A codes, over the V - 1 other crops of each, and over images, 0-dim.
    """
    log_p = (scores / temperature).log_softmax(2)
    # every crop predicts a code but the one that the code is of: their sum is formed once
    others = log_p.sum(0) - torch.stack([log_p[crop] for crop in crops_for_assign])  # A x B x K
    return -(codes.detach() * others).sum(2).mean() / (len(scores) - 1)
