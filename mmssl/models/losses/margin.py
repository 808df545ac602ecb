# Copyright (c) mmssl contributors. All rights reserved.
"""Margins, which make it harder or easier for a positive pair to count as similar."""
import math

import torch

from .precision import in_float32


@in_float32
def cosine_margin(cosine, margin):
    """Similarity less a margin: cos(theta) - m, as in CosFace <https://arxiv.org/abs/1801.09414>.

    Args:
        cosine (Tensor): Cosines of positive pairs, of any shape.
        margin (float): m; above 0 the pair must be more similar than without it, below 0 less.

    Returns:
        Tensor: As `cosine`.
    """
    return cosine - margin


@in_float32
def arc_margin(cosine, margin):
    """Cosine of an angle widened by a margin: cos(theta + m), as in ArcFace <https://arxiv.org/abs/1801.07698>.

    Where theta + m leaves the range of angles, 0 to pi, the result goes on in parallel to the cosine: a margin must not
    turn dissimilar pairs into similar ones.

    Args:
        cosine (Tensor): Cosines of positive pairs, of any shape.
        margin (float): m, in radians; above 0 the pair must be more similar than without it, below 0 less.

    Returns:
        Tensor: As `cosine`.
    """
    # the slope of the root is infinite at 0
    sine = (1 - cosine.square()).clamp(min=1e-6).sqrt()
    shifted = cosine * math.cos(margin) - sine * math.sin(margin)
    sign = math.copysign(1, margin)
    border = -sign * math.cos(margin)  # the cosine at which theta + m is pi, or 0 for a margin below 0
    return torch.where(sign * (cosine - border) >= 0, shifted, cosine - border - sign)
