# Copyright (c) mmssl contributors. All rights reserved.
"""Steps that change colours. Images of 3 channels are RGB; a fourth of 8 bits (alpha, infra-red) is left alone.

Images of uint16 and float32 have channels of any kind, and brightness and contrast treat all alike.
"""
import itertools
from functools import lru_cache, wraps

import cv2
import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import PIPELINES
from .base import ANY_DEPTH, RandomStep, Step
from .gaps import within_type
from .rng import rng

_ORDERS = list(itertools.permutations(range(4)))
_LUMA = np.array([[0.299, 0.587, 0.114]])
# Matrices that cv2.transform applies to (R, G, B, 1). It rounds, and Pillow cuts decimals off: hence the half.
_CUT = -0.499
SMALL = 10000  # pixels below which turning the hue is faster through HSV
_KEEP = np.eye(3, 4, dtype=np.float32)
_GREY = np.zeros((3, 4), np.float32)
_GREY[:, :3] = _LUMA
_OFFSET = np.zeros((3, 4), np.float32)
_OFFSET[:, 3] = 1
_COLOUR = _KEEP - _GREY
_CUT_GREY = _GREY + _CUT * _OFFSET


def _on_colours(adjust):
    """Apply a function of RGB arrays to the first three channels of four of 8 bits as well."""

    @wraps(adjust)
    def function(img, *args):
        if img.shape[2] != 4 or img.dtype != np.uint8:
            return adjust(img, *args)
        return np.dstack([adjust(np.ascontiguousarray(img[..., :3]), *args), img[..., 3]])

    return function


def _check_rgb(img, what):
    if img.shape[2] != 3:
        channels = '3' if what[0].isupper() else '1, 3 or 4' if img.dtype == np.uint8 else '1 or 3'
        raise ConfigError(f'{what} takes images of {channels} channels, got {img.shape[2]} of {img.dtype}: it is of '
                          'RGB colours, leave it out; brightness and contrast of ColorJitter take any channels')


def _scale(img, factor, offset):
    """factor * img + offset for every channel, decimals cut off."""
    if img.shape[2] == 3:
        return cv2.transform(img, factor * _KEEP + (offset + _CUT) * _OFFSET)
    return cv2.addWeighted(img, factor, img, 0, offset + _CUT).reshape(img.shape)


@_on_colours
def adjust_brightness(img, factor):
    """Scale the grey levels.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
        factor (float): 0 gives black, 1 the image.
    """
    if img.dtype != np.uint8:
        return within_type(img * np.float32(factor), img.dtype)
    return img if factor == 1 else _scale(img, factor, 0)


def _channel_means(img):
    """Mean of each channel, of the pixels that are not missing (NaN)."""
    height, width, channels = img.shape
    rows = img.reshape(height, -1)  # along rows first: numpy is slow along few channels
    if img.dtype != np.float32 or not np.isnan(np.sum(img)):
        return rows.sum(0, np.float64).reshape(width, channels).sum(0) / (height * width)
    valid = ~np.isnan(rows)
    total, count = (
        values.reshape(width, channels).sum(0) for values in (rows.sum(0, np.float64, where=valid), valid.sum(0)))
    return total / np.maximum(count, 1)


def _mean_luminance(img):
    """That of an RGB image."""
    r, g, b, _ = cv2.sumElems(img)
    return (0.299 * r + 0.587 * g + 0.114 * b) / (img.shape[0] * img.shape[1])


def _mix(img, keep, grey, offset):
    """keep * colour + grey * luminance + offset for each pixel of an RGB image."""
    if (keep, grey, offset) == (1, 0, 0):
        return img
    return cv2.transform(img, keep * _KEEP + grey * _GREY + offset * _OFFSET)


@_on_colours
def adjust_contrast(img, factor):
    """Scale the distance to the mean luminance, or in uint16 and float32 to the mean of each channel.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
        factor (float): 0 gives even grey, 1 the image.
    """
    if factor == 1:
        return img
    if img.dtype != np.uint8:
        offset = np.tile(((1 - factor) * _channel_means(img)).astype(np.float32), img.shape[1])
        out = img.reshape(img.shape[0], -1) * np.float32(factor)
        out += offset
        return within_type(out.reshape(img.shape), img.dtype)
    if img.shape[2] == 3:
        mean = _mean_luminance(img)
    elif img.shape[2] == 1:
        mean = cv2.sumElems(img)[0] / img.size
    else:
        mean = img.mean()
    return _scale(img, factor, (1 - factor) * int(mean + 0.5))


@_on_colours
def adjust_saturation(img, factor):
    """Scale the distance to the pixel's luminance; an image of one channel has none.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
        factor (float): 0 gives a grey image, 1 the image.
    """
    if factor == 1 or img.shape[2] == 1:
        return img
    _check_rgb(img, 'saturation')
    if img.dtype != np.uint8:
        return cv2.transform(img, (factor * _COLOUR + _GREY)[:, :3])
    return cv2.transform(img, factor * _COLOUR + _CUT_GREY)


@lru_cache(maxsize=1024)
def _hue_row(shift, width):
    """What is added to a row of H, S, V, H, S, V, ..."""
    row = np.zeros(3 * width, np.uint8)
    row[::3] = shift
    return row


def _turn_in_hsv(img, steps):
    """Turn the hue by so many 255ths of a turn, through OpenCV's conversions: fewest calls, for small images."""
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
    rows = hsv.reshape(hsv.shape[0], -1)
    # OpenCV makes a turn of 256 steps and takes it back as 255, Pillow uses 255: one less is right on average
    rows += _hue_row((steps - 1) % 256, hsv.shape[1])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _turn_in_rgb(img, turns):
    """Turn the hue, exactly and in two thirds of the time that the conversions to HSV and back take.

    The hues are a hexagon: on each side one channel goes from the pixel's lowest to its highest value, or back, while
    the other two stay at these. Turning by two sides permutes the channels, by three takes the complement
    low + high - x; what is left is at most half a side to either direction. There, each channel x rises by what the
    channel y that it turns towards is below low + step, and falls by what y is above high - step, where
    step = rest * (high - low).
    """
    h, w, _ = img.shape
    sides = round(6 * turns)
    rest = 6 * turns - sides
    complement = sides % 2
    thirds = (sides - 3 * complement) // 2
    order = (0, 1, 2) if rest >= 0 else (0, 2, 1)  # each turns towards the next one
    planes = np.empty((4, h, w), np.uint8)
    parts = [None] * 3
    for i, channel in enumerate(order):
        parts[(channel - thirds) % 3] = planes[i]
    cv2.split(img, parts)
    high = np.maximum(planes[0], planes[1])
    np.maximum(high, planes[2], out=high)
    low = np.minimum(planes[0], planes[1])
    np.minimum(low, planes[2], out=low)
    if complement:
        np.subtract(high + low, planes[:3], out=planes[:3])  # wraps around twice, so it is right
    planes[3] = planes[0]
    x, y, flat = planes[:3], planes[1:], (3 * h, w)
    step = cv2.addWeighted(high, abs(rest), low, -abs(rest), 0)

    change = np.maximum(y, low + step)
    change -= y
    out = cv2.add(x.reshape(flat), change.reshape(flat)).reshape(3, h, w)  # saturates
    np.minimum(out, high, out=out)
    high -= step
    np.maximum(y, high, out=change)
    change -= high
    cv2.subtract(out.reshape(flat), change.reshape(flat), out.reshape(flat))
    np.maximum(out, low, out=out)
    return cv2.merge([out[i] for i in order])


@_on_colours
def adjust_hue(img, shift):
    """Turn the hue; an image of one channel has none.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
        shift (float): In turns, -0.5 to 0.5.
    """
    steps = int(shift * 255)  # as Pillow cuts it off
    if steps == 0 or img.shape[2] == 1:
        return img
    _check_rgb(img, 'hue')
    if img.dtype != np.uint8:
        hsv = cv2.cvtColor(img.astype(np.float32), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * shift) % 360
        return within_type(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), img.dtype)
    return _turn_in_hsv(img, steps) if img.shape[0] * img.shape[1] < SMALL else _turn_in_rgb(img, steps / 255)


@_on_colours
def grey(img):
    """The luminance, in as many channels as there were.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
    """
    if img.shape[2] == 1:
        return img
    _check_rgb(img, 'grey')
    if img.dtype != np.uint8:
        return cv2.transform(img, _GREY[:, :3])
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


@PIPELINES.register_module()
class ColorJitter(Step):
    """Change brightness, contrast, saturation and hue, in random order.

    Saturation and hue are of RGB images. Brightness and contrast take any channels: images of uint16 and float32 are
    multiplied by the brightness, and the contrast changes the distance to the mean of each channel; uint16 is rounded
    and ends at 0 and 65535, float32 has no ends.

    Args:
        brightness (float | Sequence[float]): The factor is drawn uniformly from [max(0, 1 - b), 1 + b] or from the
            given range.
        contrast (float | Sequence[float]): The same.
        saturation (float | Sequence[float]): The same.
        hue (float | Sequence[float]): The shift in turns is drawn uniformly from [-h, h] or from the given range,
            within -0.5..0.5.
    """
    types = ANY_DEPTH
    _ADJUST = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        self.brightness = self._range(brightness, 'brightness')
        self.contrast = self._range(contrast, 'contrast')
        self.saturation = self._range(saturation, 'saturation')
        self.hue = self._range(hue, 'hue', center=0, low=-0.5, high=0.5)
        self._ranges = self.brightness, self.contrast, self.saturation, self.hue

    @staticmethod
    def _range(value, name, center=1, low=0, high=float('inf')):
        """The range of a factor; None where it never changes anything."""
        if np.isscalar(value):
            if value < 0:
                raise ValueError(f'{name} must not be negative where it is one number, got {value}')
            value = (max(low, center - value) if name != 'hue' else center - value, center + value)
        if len(value) != 2 or not low <= value[0] <= value[1] <= high:
            raise ValueError(f'{name} must be a range within {low}..{high}, got {value}')
        return None if value[0] == value[1] == center else tuple(map(float, value))

    def draw(self, img):
        """Order and factors, as torchvision's get_params returns them."""
        random = rng().random
        order = _ORDERS[int(random() * 24)]
        return (order, *(r and r[0] + random() * (r[1] - r[0]) for r in self._ranges))

    def apply(self, img, order, *factors):
        if img.shape[2] == 3 and img.dtype == np.uint8:
            return self._apply_rgb(img, order, factors)
        for i in order:
            if factors[i] is not None:
                img = self._ADJUST[i](img, factors[i])
        return img

    @staticmethod
    def _apply_rgb(img, order, factors):
        """For RGB of 8 bits, with fewer passes.

        All but the hue are keep * colour + grey * luminance + offset, and one after another are one such step again,
        unless values beyond 0..255 were cut off between them: that happens with factors above 1 only.
        """
        keep, grey, offset = step = 1, 0, 0
        for i in order:
            factor = factors[i]
            if i == 3:
                if factor is not None:
                    img, (keep, grey, offset) = adjust_hue(_mix(img, keep, grey, offset), factor), step
                continue
            if factor is None or factor == 1:
                continue
            own, shift = 0, _CUT
            if i == 1:
                shift += (1 - factor) * int((keep + grey) * _mean_luminance(img) + offset + 0.5)
            elif i == 2:
                own = 1 - factor
            keep, grey, offset = keep * factor, factor * grey + own * (keep + grey), (factor + own) * offset + shift
            if factor > 1:
                img, (keep, grey, offset) = _mix(img, keep, grey, offset), step
        return _mix(img, keep, grey, offset)


@PIPELINES.register_module()
class Grayscale(Step):
    """Luminance.

    Args:
        num_output_channels (int): 1 or 3.
    """
    types = ANY_DEPTH

    def __init__(self, num_output_channels=1):
        if num_output_channels not in (1, 3):
            raise ValueError(f'num_output_channels must be 1 or 3, got {num_output_channels}')
        self.num_output_channels = num_output_channels

    def apply(self, img):
        img = grey(img)
        return img[..., :1] if self.num_output_channels == 1 else np.repeat(img[..., :1], 3, axis=2)


@PIPELINES.register_module()
class RandomGrayscale(RandomStep):
    """Take the colour away; the number of channels stays.

    Args:
        p (float): Probability.
    """
    types = ANY_DEPTH

    def __init__(self, p=0.1):
        super().__init__(p)

    def apply(self, img):
        return grey(img)


@PIPELINES.register_module()
class Solarization(RandomStep):
    """Invert what is bright, as in BYOL.

    Args:
        threshold (int): Grey level from which on it is inverted, 0..256.
        p (float): Probability.
    """

    def __init__(self, threshold=128, p=0.5):
        super().__init__(p)
        if not 0 <= threshold <= 256:
            raise ValueError(f'Solarization: threshold must be within 0..256, got {threshold}')
        self.threshold = threshold

    def apply(self, img):
        bright = cv2.threshold(img, self.threshold - 1, 255, cv2.THRESH_BINARY)[1]
        return cv2.bitwise_xor(img, bright).reshape(img.shape)  # x ^ 255 = 255 - x


@PIPELINES.register_module()
class Lighting(Step):
    """Add a random colour along the principal components of ImageNet's, as in AlexNet.

    It stands before ToTensor, or behind it as MMSelfSup's.

    Args:
        alphastd (float): Standard deviation of the components' weights.
    """
    EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
    EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

    def __init__(self, alphastd=0.1):
        self.alphastd = alphastd

    def draw(self, img):
        if not self.alphastd:
            return None
        return self.EIGENVECTORS @ (rng().standard_normal(3) * self.alphastd * self.EIGENVALUES),

    def apply(self, img, colour):
        """Add a colour.

        Args:
            img (ndarray | Tensor): uint8 H x W x 3, or 3 x H x W within 0..1.
            colour (ndarray): R, G, B, where 1 is white.
        """
        if not isinstance(img, np.ndarray):
            return img + img.new_tensor(colour).view(3, 1, 1)
        _check_rgb(img, 'Lighting')
        return cv2.transform(img, np.column_stack([_KEEP[:, :3], 255 * colour]).astype(np.float32))
