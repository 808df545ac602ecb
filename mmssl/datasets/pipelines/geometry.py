# Copyright (c) mmssl contributors. All rights reserved.
"""Steps that move pixels: flips, rotation, erasing."""
import math

import cv2
import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from ..images import ReducedImage
from ..registry import PIPELINES
from .base import ANY_DEPTH, RandomStep, Step, check_probability, check_range
from .deferred import Deferred
from .gaps import over_gaps
from .resample import interpolation_name
from .rng import rng

_WARP = dict(nearest=cv2.INTER_NEAREST, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC)


@PIPELINES.register_module()
class RandomHorizontalFlip(RandomStep):
    """Swap left and right.

    Args:
        p (float): Probability.
    """
    types = ANY_DEPTH

    shape_stays = True

    def apply(self, img):
        return img.flipped(1) if isinstance(img, ReducedImage) else cv2.flip(img, 1).reshape(img.shape)


@PIPELINES.register_module()
class RandomVerticalFlip(RandomStep):
    """Swap top and bottom.

    Args:
        p (float): Probability.
    """
    types = ANY_DEPTH

    shape_stays = True

    def apply(self, img):
        return img.flipped(0) if isinstance(img, ReducedImage) else cv2.flip(img, 0).reshape(img.shape)


def _warp(img, matrix, width, height, flags, mode, fill=(0, )):
    """Move pixels by a matrix that says where those of the result come from, whatever the number of channels.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C; missing pixels (NaN) have no weight.
        matrix (ndarray): 2 x 3.
        width (int): Of the result.
        height (int): Of the result.
        flags (int): OpenCV's interpolation.
        mode (int): OpenCV's kind of border.
        fill (Sequence[float]): Value of a constant border, one or one for each channel.

    Returns:
        ndarray: Of the same type, height x width x C.
    """
    channels = img.shape[2]
    fill = list(fill) if len(fill) > 1 else list(fill) * max(4, channels)

    def warp(img, fill=fill):
        # OpenCV has four values for the border, and up to version 4 four channels
        parts = [
            cv2.warpAffine(
                np.ascontiguousarray(img[..., i:i + 4]) if channels > 4 else img,
                matrix, (width, height),
                flags=flags | cv2.WARP_INVERSE_MAP,
                borderMode=mode,
                borderValue=fill[i:i + 4]).reshape(height, width, -1) for i in range(0, channels, 4)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    return over_gaps(img, warp, 0.25 if flags == cv2.INTER_CUBIC else 1e-3, lambda valid: warp(valid, [1] * len(fill)))


def turn(img, number, num_angles=4):
    """Turn a square image by number / num_angles of a full turn, counter-clockwise, so that no border tells the angle.

    Quarter turns move pixels. Other angles would bare the corners: then the largest square that lies within the image
    at each of the angles is cut out and enlarged to the image's size, for all angles alike.

    Args:
        img (ndarray | Deferred): uint8, uint16 or float32, S x S x C.
        number (int): 0 to num_angles - 1.
        num_angles (int): Number of equal steps in a full turn.

    Returns:
        ndarray | Deferred: S x S x C.

    Raises:
        ValueError: The image is not square.
    """
    height, width, _ = img.shape
    if height != width:
        raise ValueError(f'only square images keep their shape when they are turned, got {height} x {width} pixels '
                         '(height x width)')
    if isinstance(img, Deferred):
        return img.turn(number * 4 // num_angles)
    if num_angles in (1, 2, 4):
        return np.ascontiguousarray(np.rot90(img, number * 4 // num_angles))
    angles = 2 * np.pi * np.arange(num_angles) / num_angles
    scale = (np.abs(np.cos(angles)) + np.abs(np.sin(angles))).max()
    cos, sin, middle = np.cos(angles[number]) / scale, np.sin(angles[number]) / scale, (width - 1) / 2
    # where in the image the colour of a place in the result comes from
    matrix = np.array([[cos, -sin, middle * (1 - cos + sin)], [sin, cos, middle * (1 - sin - cos)]])
    return _warp(img, matrix, width, height, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)


@PIPELINES.register_module()
class RandomRotation(Step):
    """Turn an image.

    Args:
        degrees (float | Sequence[float]): Range of the angle, counter-clockwise; one number d stands for (-d, d).
        interpolation (str | int): 'nearest', 'bilinear' or 'bicubic', or Pillow's number of it.
        expand (bool): Make the image as large as all of it needs.
        center (Sequence[float], optional): x and y in pixels from the upper left corner; default: the middle.
        fill (float | Sequence[float]): Value of what was outside, for all channels or for each.
    """
    types = ANY_DEPTH

    def __init__(self, degrees, interpolation='nearest', expand=False, center=None, fill=0):
        if np.isscalar(degrees) and degrees < 0:
            raise ValueError(f'degrees must not be negative where it is one number, got {degrees}')
        self.degrees = check_range((-degrees, degrees) if np.isscalar(degrees) else degrees, 'degrees')
        self.interpolation = interpolation_name(interpolation)
        if self.interpolation not in _WARP:
            raise ValueError(f'RandomRotation takes {", ".join(_WARP)}; got interpolation={interpolation!r}')
        self.expand = expand
        self.center = center
        self.fill = fill
        self._border = [float(fill)] if np.isscalar(fill) else [float(f) for f in fill]

    def draw(self, img):
        return self.degrees[0] + rng().random() * (self.degrees[1] - self.degrees[0]),

    def apply(self, img, angle):
        h, w, channels = img.shape
        if len(self._border) not in (1, channels) and channels > 4:
            raise ConfigError(f'RandomRotation: fill has {len(self._border)} values, the image {channels} channels')
        quarters = angle / 90
        if quarters == int(quarters) and self.center is None and (quarters % 2 == 0 or self.expand or h == w):
            return np.ascontiguousarray(np.rot90(img, int(quarters)))
        turn = math.radians(-angle)
        cos, sin = math.cos(turn), math.sin(turn)
        x, y = self.center or (w / 2, h / 2)
        # where in the image, in pixels from its corner, the colour of a place in the result comes from:
        # (cos * x + sin * y + right, -sin * x + cos * y + down)
        right, down = x - x * cos - y * sin, y + x * sin - y * cos
        width, height = w, h
        if self.expand:
            xs, ys = (0, w * cos, h * sin, w * cos + h * sin), (0, -w * sin, h * cos, h * cos - w * sin)
            width = math.ceil(max(xs) + right) - math.floor(min(xs) + right)
            height = math.ceil(max(ys) + down) - math.floor(min(ys) + down)
            margin_x, margin_y = (width - w) / 2, (height - h) / 2
            right, down = right - margin_x * cos - margin_y * sin, down + margin_x * sin - margin_y * cos
        # OpenCV counts from the middle of the first pixel
        right, down = right + (cos + sin - 1) / 2, down + (cos - sin - 1) / 2
        matrix = np.array([[cos, sin, right], [-sin, cos, down]])
        return _warp(img, matrix, width, height, _WARP[self.interpolation], cv2.BORDER_CONSTANT, self._border)


def _noise(img, shape):
    """Values that an image like this one may have, uniform in its range."""
    if img.dtype == np.uint8:
        return rng().integers(0, 256, shape, np.uint8)
    low, high = (np.nan_to_num(extreme(img, (0, 1))).astype(np.float64) for extreme in (np.fmin.reduce, np.fmax.reduce))
    return low + rng().random(shape) * (high - low)


@PIPELINES.register_module()
class RandomErasing(Step):
    """Paint a random rectangle over. It stands before ToTensor, or behind it as torchvision's.

    Args:
        p (float): Probability.
        scale (Sequence[float]): Range of the rectangle's share of the area.
        ratio (Sequence[float]): Range of height / width, its logarithm drawn uniformly.
        value (float | Sequence[float] | str): What is painted, for all channels or for each, as it stands in the
            array (0..255 in 8 bits) or tensor; 'random' for noise: normal in a tensor; in an array uniform over 0..255,
            or of other types than uint8 between the lowest and the highest value of each channel.
        inplace (bool): Paint into the tensor that came in.
    """
    types = ANY_DEPTH

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False):
        self.p = check_probability(p, 'RandomErasing')
        self.scale = check_range(scale, 'scale')
        self.ratio = check_range(ratio, 'ratio')
        if isinstance(value, str) and value != 'random':
            raise ValueError(f"value must be a number, one for each channel, or 'random'; got {value!r}")
        self.value = value
        self.inplace = inplace

    def draw(self, img):
        random = rng().random
        if random() >= self.p:
            return None
        height, width = img.shape[-2:] if isinstance(img, torch.Tensor) else img.shape[:2]
        (scale, scale_to), (ratio, ratio_to) = self.scale, map(math.log, self.ratio)
        for _ in range(10):
            area = height * width * (scale + random() * (scale_to - scale))
            shape = math.exp(ratio + random() * (ratio_to - ratio))
            h, w = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if h < height and w < width:
                return int(random() * (height - h + 1)), int(random() * (width - w + 1)), h, w
        return None

    def apply(self, img, top, left, h, w):
        if isinstance(img, torch.Tensor):
            img = img if self.inplace else img.clone()
            part = img[..., top:top + h, left:left + w]
            if self.value == 'random':
                part.copy_(torch.from_numpy(rng().standard_normal(part.shape, np.float32)))
            else:
                part.copy_(torch.as_tensor(self.value, dtype=img.dtype).reshape(-1, 1, 1))
            return img
        img = img.copy()
        part = img[top:top + h, left:left + w]
        part[:] = self.value if self.value != 'random' else _noise(img, part.shape)
        return img
