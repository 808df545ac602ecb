# Copyright (c) mmssl contributors. All rights reserved.
"""Steps on grey levels with a strength that may be drawn, as PIRL puts them together; and the colours of CIE Lab."""
import math

import cv2
import numpy as np

from ..registry import PIPELINES
from .base import ANY_DEPTH, RandomStep, Step
from .color import _check_rgb, _on_colours
from .gaps import over_gaps, within_type
from .rng import rng

_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


@_on_colours
def posterize(img, bits):
    """Keep the highest bits of each grey level.

    Args:
        img (ndarray): uint8, H x W x C.
        bits (int): 0 to 8.
    """
    return np.bitwise_and(img, (0xFF << 8 - bits) & 0xFF)


@_on_colours
def adjust_sharpness(img, factor):
    """Mix an image with a smoothed one; the outermost pixels are not smoothed.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
        factor (float): 0 gives the smoothed image, 1 the image, more a sharper one.
    """
    height, width, _ = img.shape
    if factor == 1 or height < 3 or width < 3:
        return img
    if img.dtype != np.uint8:
        smooth = np.array(img, np.float32)
        inner = over_gaps(smooth, lambda img: cv2.filter2D(img, -1, _SMOOTH).reshape(img.shape))[1:-1, 1:-1]
        np.copyto(smooth[1:-1, 1:-1], inner, where=~np.isnan(smooth[1:-1, 1:-1]))
        return within_type(smooth + np.float32(factor) * (img - smooth), img.dtype)
    smooth = img.copy()
    smooth[1:-1, 1:-1] = cv2.filter2D(img, -1, _SMOOTH).reshape(img.shape)[1:-1, 1:-1]
    smooth, change = smooth.astype(np.float32), img.astype(np.float32)
    change -= smooth
    change *= np.float32(factor)
    smooth += change
    return np.clip(smooth, 0, 255, out=smooth).astype(np.uint8)  # decimals are cut off, as Pillow does


@_on_colours
def solarize(img, threshold):
    """Invert what is bright.

    Args:
        img (ndarray): uint8, H x W x C.
        threshold (float): Grey level from which on it is inverted; 256 leaves all as it is.
    """
    bright = cv2.threshold(img, math.ceil(threshold) - 1, 255, cv2.THRESH_BINARY)[1]
    return cv2.bitwise_xor(img, bright).reshape(img.shape)  # x ^ 255 = 255 - x


@_on_colours
def autocontrast(img):
    """Stretch each channel to 0..255; one of a single grey level stays.

    Args:
        img (ndarray): uint8, H x W x C.
    """
    height, width, channels = img.shape
    rows = img.reshape(height, -1)  # along rows first: numpy is slow along three channels
    low, high = (extreme(extreme(rows, 0).reshape(width, channels), 0).astype(float) for extreme in (np.min, np.max))
    flat = low == high
    scale, low = np.where(flat, 1, 255 / np.where(flat, 1, high - low)), np.where(flat, 0, low)
    table = np.clip(np.arange(256)[:, None] * scale - low * scale, 0, 255).astype(np.uint8)
    return cv2.LUT(img, table[None]).reshape(img.shape)


def _check_strength(value, name, low, high, whole=False):
    """A strength, or the range from which it is drawn, as a pair.

    Raises:
        ValueError: Beyond its bounds, or no whole number where it must be one.
    """
    pair = (value, value) if np.isscalar(value) else tuple(value)
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high or whole and any(v != int(v) for v in pair):
        raise ValueError(f'{name} must be {"a whole number" if whole else "a number"} within {low}..{high}, or a range '
                         f'(from, to) of such, got {value!r}')
    return pair


class StepOfStrength(RandomStep):
    """A step that is done with a probability, and with a strength that is given or drawn uniformly from a range."""

    def __init__(self, strength, p, whole):
        super().__init__(p)
        self._strength, self._whole = strength, whole

    def draw(self, img):
        if super().draw(img) is None:
            return None
        low, high = self._strength
        if self._whole:
            return int(rng().integers(low, high, endpoint=True)),
        return low + rng().random() * (high - low),


@PIPELINES.register_module()
class RandomPosterize(StepOfStrength):
    """Keep the highest bits of each grey level.

    Args:
        bits (int | Sequence[int]): So many, 0 to 8, or a range of which both ends can be drawn.
        p (float): Probability.
    """

    def __init__(self, bits, p=0.5):
        self.bits = bits
        super().__init__(_check_strength(bits, 'RandomPosterize: bits', 0, 8, whole=True), p, True)

    def apply(self, img, bits):
        return posterize(img, bits)


@PIPELINES.register_module()
class RandomAdjustSharpness(StepOfStrength):
    """Smooth or sharpen.

    Args:
        sharpness_factor (float | Sequence[float]): 0 smooths, 1 leaves the image, 2 sharpens; or a range.
        p (float): Probability.
    """
    types = ANY_DEPTH

    def __init__(self, sharpness_factor, p=0.5):
        self.sharpness_factor = sharpness_factor
        super().__init__(
            _check_strength(sharpness_factor, 'RandomAdjustSharpness: sharpness_factor', 0, np.inf), p, False)

    def apply(self, img, factor):
        return adjust_sharpness(img, factor)


@PIPELINES.register_module()
class RandomSolarize(StepOfStrength):
    """Invert what is bright. BYOL's, with a fixed threshold, is Solarization.

    Args:
        threshold (float | Sequence[int]): Grey level from which on it is inverted, or a range of whole numbers of which
            both ends can be drawn; 256 inverts nothing.
        p (float): Probability.
    """

    def __init__(self, threshold, p=0.5):
        self.threshold = threshold
        drawn = not np.isscalar(threshold)
        super().__init__(_check_strength(threshold, 'RandomSolarize: threshold', 0, 256, whole=drawn), p, drawn)

    def apply(self, img, threshold):
        return solarize(img, threshold)


@PIPELINES.register_module()
class RandomAutocontrast(RandomStep):
    """Stretch each channel to 0..255.

    Args:
        p (float): Probability.
    """

    def __init__(self, p=0.5):
        super().__init__(p)

    def apply(self, img):
        return autocontrast(img)


@PIPELINES.register_module()
class RandomPhotometric(RandomStep):
    """PIRL's change of grey levels: posterise, change the sharpness, solarise, stretch the contrast; all, or none.

    See Misra and van der Maaten <https://arxiv.org/abs/1912.01991>; strengths and order are VISSL's.

    Args:
        p (float): Probability.
        bits (int | Sequence[int]): See RandomPosterize.
        sharpness_factor (float | Sequence[float]): See RandomAdjustSharpness.
        threshold (float | Sequence[int]): See RandomSolarize.
    """

    def __init__(self, p=0.66, bits=(4, 8), sharpness_factor=(0.1, 1.9), threshold=(0, 256)):
        super().__init__(p)
        self.bits, self.sharpness_factor, self.threshold = bits, sharpness_factor, threshold
        self._steps = (RandomPosterize(bits, 1), RandomAdjustSharpness(sharpness_factor,
                                                                       1), RandomSolarize(threshold,
                                                                                          1), RandomAutocontrast(1))

    def apply(self, img):
        for step in self._steps:
            img = step(img)
        return img


@PIPELINES.register_module()
class ToLab(Step):
    """The colours of CIE Lab (sRGB, D65) in 8 bits, as OpenCV has them: L * 255 / 100, a + 128, b + 128.

    It stands last, behind the steps on RGB colours. Normalised, on the device or by the step Normalize, with
    mean=[0.5, 128 / 255, 128 / 255] and std=[0.01, 1 / 255, 1 / 255], L is -50..50 and a and b are in their own units,
    which is what VISSL's trunks were trained on; mean 0 in the first place leaves L 0..100.

    Args:
        channels (str): 'Lab', or some of these letters, such as 'L' for the lightness alone.
    """

    def __init__(self, channels='Lab'):
        if not channels or len(set(channels)) < len(channels) or not set(channels) <= set('Lab'):
            raise ValueError(f"channels must be some of the letters of 'Lab', got {channels!r}")
        self.channels = channels
        self._places = ['Lab'.index(letter) for letter in channels]

    def apply(self, img):
        _check_rgb(img, 'ToLab')
        lab = cv2.cvtColor(img, cv2.COLOR_RGB2LAB)
        return lab if self.channels == 'Lab' else np.ascontiguousarray(lab[..., self._places])
