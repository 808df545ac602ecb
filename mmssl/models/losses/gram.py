# Copyright (c) mmssl contributors. All rights reserved.
"""Gram anchoring: the patches of an image stay as similar to each other as they were."""
import torch
from torch.nn import functional as F

from .precision import in_float32


@in_float32
def gram_anchoring(patches, anchors):
    """Mean squared difference of the Gram matrices of an image's patches (DINOv3, https://arxiv.org/abs/2508.10104,
    section 4): which patch is how similar to which, not what each is like.

    Args:
        patches (Tensor): Features of a student, B x N x D, of any length.
        anchors (Tensor): Those of an earlier teacher for the same places, B x N x D', without gradient.

    Returns:
        Tensor: Mean over images and pairs of patches, 0-dim.
    """
    patches, anchors = F.normalize(patches, dim=2), F.normalize(anchors.detach(), dim=2)
    # one tensor of B x N x N, which is the large one here, is the difference of both
    return torch.baddbmm(anchors @ anchors.mT, patches, patches.mT, beta=-1).square().mean()
