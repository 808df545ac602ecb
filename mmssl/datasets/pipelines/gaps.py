# Copyright (c) mmssl contributors. All rights reserved.
"""Images of more than 8 bits: means without missing pixels, which are NaN, and the way back to uint16."""
import numpy as np


def over_gaps(img, weigh, least=1e-3, weigh_valid=None):
    """A weighted mean of neighbouring pixels, of which missing ones have no part.

    Args:
        img (ndarray): H x W x C; NaN, of float32 images, is missing.
        weigh (Callable): Makes of an image the image of weighted means.
        least (float): Weight of the valid pixels, of all being 1, up to which a mean counts as missing.
        weigh_valid (Callable, optional): The same where it brings pixels in from elsewhere, such as a border: with
            ones in their places.

    Returns:
        ndarray: What `weigh` returns; NaN where all pixels with a weight are missing.
    """
    if img.dtype != np.float32 or not np.isnan(np.sum(img)):  # the sum of many numbers tells at a tenth of the cost
        return weigh(img)
    valid = ~np.isnan(img)
    weights = (weigh_valid or weigh)(valid.astype(np.float32))
    out = weigh(np.where(valid, img, np.float32(0)))
    found = weights > least
    return np.where(found, out / np.where(found, weights, 1), np.float32(np.nan))


def within_type(values, kind):
    """float32 values as an image of a type: those of uint16 are rounded, and end at 0 and 65535."""
    if kind != np.uint16:
        return values
    return np.clip(np.rint(values, out=values), 0, 65535, out=values).astype(np.uint16)
