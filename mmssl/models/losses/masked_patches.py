# Copyright (c) mmssl contributors. All rights reserved.
"""Loss of iBOT's and DINOv2's masked patches."""
from .precision import in_float32


@in_float32
def masked_patch_prediction(scores, targets, weight, images, temperature=0.1):
    """The student tells from the rest of an image what a teacher says of the patches that it does not see.

    See iBOT <https://arxiv.org/abs/2111.07832>, equation 2.

    Args:
        scores (Tensor): Dot products of the M masked patches of this process with K prototypes, M x K.
        targets (Tensor): Probabilities of the prototypes, M x K; they get no gradient.
        weight (Tensor): One by the number of masked patches of the image, M. The paper's equation has a sum over
            patches, its code this mean: an image counts as much with few masked patches as with many.
        images (int): Number of crops that masks were drawn for. Those that stayed whole count as 0.
        temperature (float): Divides the scores.

    Returns:
        Tensor: Mean over images, 0-dim; 0 where no patch is masked.
    """
    log_p = (scores / temperature).log_softmax(1)
    return -((targets.detach() * log_p).sum(1) * weight).sum() / images
