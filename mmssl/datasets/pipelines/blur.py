# Copyright (c) mmssl contributors. All rights reserved.
"""Gaussian blur."""
from functools import lru_cache

import cv2
import numpy as np

from ..registry import PIPELINES
from .base import ANY_DEPTH, RandomStep
from .gaps import over_gaps, within_type
from .rng import rng


@lru_cache(maxsize=8192)
def blur_kernel(sigma):
    """The one-dimensional kernel of Pillow's GaussianBlur: three boxes with soft edges, folded into one.

    Their widths follow from the variance that they have to sum up to. P. Gwosdek et al., "Theoretical foundations
    of Gaussian convolution by extended box filtering", 2011.

    Args:
        sigma (float): Standard deviation in pixels, what Pillow calls the radius.

    Returns:
        ndarray: float64, of odd length, sums up to 1.
    """
    variance = sigma * sigma / 3
    radius = int((np.sqrt(12 * variance + 1) - 1) / 2)
    edge = (2 * radius + 1) * (radius * (radius + 1) - 3 * variance) / (6 * (variance - (radius + 1)**2))
    box = np.ones(2 * radius + 3)
    box[[0, -1]] = edge
    box /= box.sum()
    kernel = np.convolve(np.convolve(box, box), box)
    seen = np.flatnonzero(kernel > 1 / 128)  # smaller weights cost time and change next to nothing
    kernel = kernel[seen[0]:seen[-1] + 1]
    kernel = kernel + kernel[::-1]  # symmetric to the last bit, or OpenCV takes a slower way
    return kernel / kernel.sum()


@PIPELINES.register_module()
class GaussianBlur(RandomStep):
    """Blur as in SimCLR.

    Args:
        sigma_min (float): Lower limit of the standard deviation in pixels.
        sigma_max (float): Its upper limit; it is drawn uniformly between them.
        p (float): Probability.
    """
    types = ANY_DEPTH

    def __init__(self, sigma_min, sigma_max, p=0.5):
        super().__init__(p)
        if not 0 <= sigma_min <= sigma_max:
            raise ValueError(f'GaussianBlur needs 0 <= sigma_min <= sigma_max, got {sigma_min} and {sigma_max}')
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def draw(self, img):
        random = rng().random
        if random() >= self.p:
            return None
        return self.sigma_min + random() * (self.sigma_max - self.sigma_min),

    def apply(self, img, sigma):
        kernel = blur_kernel(round(sigma, 3))  # a thousandth of a pixel makes no difference, and kernels are kept
        if len(kernel) == 1:
            return img

        def blur(img):
            return cv2.sepFilter2D(img, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE).reshape(img.shape)

        if img.dtype == np.uint16:  # OpenCV takes four times as long for these as for floats
            return within_type(blur(img.astype(np.float32)), img.dtype)
        if img.dtype == np.uint8:
            return blur(img)
        out = over_gaps(img, blur)
        out[np.isnan(img)] = np.nan  # what is missing is not filled in
        return out
