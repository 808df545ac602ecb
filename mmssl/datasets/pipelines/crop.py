# Copyright (c) mmssl contributors. All rights reserved.
"""Steps that choose a part of an image, or its size."""
import math

import cv2
import numpy as np

from ..registry import PIPELINES
from .base import ANY_DEPTH, Step, check_range, check_size
from .resample import interpolation_name, resize_part
from .rng import rng

_BORDERS = dict(edge=cv2.BORDER_REPLICATE, reflect=cv2.BORDER_REFLECT_101, symmetric=cv2.BORDER_REFLECT)


def pad(img, left, top, right, bottom, fill=0, padding_mode='constant'):
    """Add a border.

    Args:
        img (ndarray): H x W x C.
        left, top, right, bottom (int): Widths in pixels.
        fill (float | Sequence[float]): Value of a constant border, for all channels or for each.
        padding_mode (str): 'constant', 'edge', 'reflect' (without the outermost pixel) or 'symmetric' (with it).

    Returns:
        ndarray: Of the same type, (H + top + bottom) x (W + left + right) x C.
    """
    h, w, c = img.shape
    if padding_mode != 'constant':
        out = cv2.copyMakeBorder(img, top, bottom, left, right, _BORDERS[padding_mode])
        return out.reshape(*out.shape[:2], c)
    out = np.empty((h + top + bottom, w + left + right, c), img.dtype)
    out[:] = fill
    out[top:top + h, left:left + w] = img
    return out


@PIPELINES.register_module()
class Pad(Step):
    """Add a border.

    Args:
        padding (int | Sequence[int]): Width in pixels: of all sides, (left and right, top and bottom), or
            (left, top, right, bottom).
        fill (float | Sequence[float]): Value of a constant border, for all channels or for each.
        padding_mode (str): 'constant', 'edge', 'reflect' or 'symmetric'.
    """
    types = ANY_DEPTH

    def __init__(self, padding, fill=0, padding_mode='constant'):
        sides = (padding, ) if np.isscalar(padding) else tuple(padding)
        if len(sides) not in (1, 2, 4) or min(sides) < 0:
            raise ValueError(f'padding must be one, two or four widths that are not negative, got {padding!r}')
        if padding_mode != 'constant' and padding_mode not in _BORDERS:
            raise ValueError(f'padding_mode must be constant, {", ".join(_BORDERS)}; got {padding_mode!r}')
        self.padding = sides * (4 // len(sides))
        self.fill = fill
        self.padding_mode = padding_mode

    def apply(self, img):
        return pad(img, *self.padding, self.fill, self.padding_mode)


@PIPELINES.register_module()
class Resize(Step):
    """Resize an image.

    Args:
        size (int | Sequence[int]): Length of the shorter side in pixels (the ratio of the sides stays), or
            (height, width).
        interpolation (str | int): See interpolation_name.
        max_size (int, optional): With one length, upper limit of the longer side.
    """
    types = ANY_DEPTH

    def __init__(self, size, interpolation='bilinear', max_size=None):
        self.size = check_size(size)
        self.keep_ratio = np.isscalar(size) or len(size) == 1
        self.interpolation = interpolation_name(interpolation)
        self.max_size = max_size
        if max_size is not None and (not self.keep_ratio or max_size <= self.size[0]):
            raise ValueError(f'max_size needs a size of one number, smaller than itself; got size={size}, '
                             f'max_size={max_size}')

    def apply(self, img):
        h, w = img.shape[:2]
        return resize_part(img, 0, 0, h, w, *self.target(h, w), self.interpolation)

    def looks_at(self, img):
        h, w = img.shape[:2]
        return None if self.interpolation == 'nearest' else (h, w, *self.target(h, w))

    def target(self, h, w):
        """Height and width in pixels that an image of h x w pixels gets."""
        if not self.keep_ratio:
            return self.size
        short = self.size[0]
        long = int(short * max(h, w) / min(h, w))
        if self.max_size is not None and long > self.max_size:
            short, long = int(self.max_size * short / long), self.max_size
        return (short, long) if h <= w else (long, short)


@PIPELINES.register_module()
class ResizeLongerSide(Resize):
    """Resize an image so that its longer side gets a length; the ratio of the sides stays.

    Args:
        size (int): Length in pixels.
        interpolation (str | int): See interpolation_name.
    """

    def __init__(self, size, interpolation='bilinear'):
        super().__init__(size, interpolation)

    def target(self, h, w):
        """Height and width in pixels that an image of h x w pixels gets."""
        scale = self.size[0] / max(h, w)
        return max(1, round(h * scale)), max(1, round(w * scale))


@PIPELINES.register_module()
class CenterCrop(Step):
    """Cut the middle out; an image that is too small gets a black border.

    Args:
        size (int | Sequence[int]): Length of a square's side or (height, width), in pixels.
    """
    types = ANY_DEPTH

    def __init__(self, size):
        self.size = check_size(size)

    def apply(self, img):
        th, tw = self.size
        h, w = img.shape[:2]
        if h < th or w < tw:
            dh, dw = max(th - h, 0), max(tw - w, 0)
            img = pad(img, dw // 2, dh // 2, (dw + 1) // 2, (dh + 1) // 2)
            h, w = img.shape[:2]
        top, left = int(round((h - th) / 2)), int(round((w - tw) / 2))
        return img[top:top + th, left:left + tw]


@PIPELINES.register_module()
class RandomCrop(Step):
    """Cut a part out at a random place.

    Args:
        size (int | Sequence[int]): Length of a square's side or (height, width), in pixels.
        padding (int | Sequence[int], optional): Border that is added first, see Pad.
        pad_if_needed (bool): Give an image that is too small a border of what it lacks, on both sides.
        fill (float | Sequence[float]): See Pad.
        padding_mode (str): See Pad.
    """
    types = ANY_DEPTH

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode='constant'):
        self.size = check_size(size)
        self.pad = Pad(0 if padding is None else padding, fill, padding_mode)
        self.pad_if_needed = pad_if_needed

    def run(self, img):
        if any(self.pad.padding):
            img = self.pad(img)
        if self.pad_if_needed:
            dh, dw = (max(want - have, 0) for want, have in zip(self.size, img.shape))
            if dh or dw:
                img = pad(img, dw, dh, dw, dh, self.pad.fill, self.pad.padding_mode)
        return super().run(img)

    def draw(self, img):
        (th, tw), (h, w) = self.size, img.shape[:2]
        if h < th or w < tw:
            raise ValueError(f'RandomCrop cannot cut {th} x {tw} pixels out of {h} x {w}: set padding or '
                             'pad_if_needed=True')
        random = rng().random
        return int(random() * (h - th + 1)), int(random() * (w - tw + 1))

    def apply(self, img, top, left):
        return img[top:top + self.size[0], left:left + self.size[1]]


@PIPELINES.register_module()
class RandomResizedCrop(Step):
    """Cut a part of random size, shape and place out and resize it.

    Args:
        size (int | Sequence[int]): Length of a square's side or (height, width), in pixels.
        scale (Sequence[float]): Range of the part's share of the area, drawn uniformly. MoCo v2 takes (0.2, 1).
        ratio (Sequence[float]): Range of width / height, its logarithm drawn uniformly.
        interpolation (str | int): See interpolation_name.
    """
    types = ANY_DEPTH

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3. / 4., 4. / 3.), interpolation='bilinear'):
        self.size = check_size(size)
        self.scale = check_range(scale, 'scale')
        self.ratio = check_range(ratio, 'ratio')
        self.interpolation = interpolation_name(interpolation)
        self._log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])

    def draw(self, img):
        height, width = img.shape[:2]
        random = rng().random
        (scale, scale_to), (log_ratio, log_ratio_to) = self.scale, self._log_ratio
        for _ in range(10):
            area = height * width * (scale + random() * (scale_to - scale))
            ratio = math.exp(log_ratio + random() * (log_ratio_to - log_ratio))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(random() * (height - h + 1)), int(random() * (width - w + 1)), h, w
        # nothing fits an image this narrow: the largest part in the middle whose ratio is allowed
        w, h = width, height
        if width < self.ratio[0] * height:
            h = round(w / self.ratio[0])
        elif width > self.ratio[1] * height:
            w = round(h * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w

    def apply(self, img, top, left, h, w):
        return resize_part(img, top, left, h, w, *self.size, self.interpolation)

    def looks_at(self, img, top, left, h, w):
        return None if self.interpolation == 'nearest' else (h, w, *self.size)


@PIPELINES.register_module()
class RandomResizedCropAndInterpolationWithTwoPic(RandomResizedCrop):
    """Cut a random part out and resize it once or, for a tokenizer as in BEiT and CAE, to two sizes.

    Args:
        size (int | Sequence[int]): Length of a square's side or (height, width), in pixels.
        second_size (int | Sequence[int], optional): The same of the second image; None for one image only.
        scale (Sequence[float]): See RandomResizedCrop.
        ratio (Sequence[float]): See RandomResizedCrop.
        interpolation (str | int): See interpolation_name; 'random' draws bilinear or bicubic.
        second_interpolation (str | int): The same of the second image, without 'random'.
    """

    def __init__(self,
                 size,
                 second_size=None,
                 scale=(0.08, 1.0),
                 ratio=(3. / 4., 4. / 3.),
                 interpolation='bilinear',
                 second_interpolation='lanczos'):
        self._random = interpolation == 'random'
        super().__init__(size, scale, ratio, 'bilinear' if self._random else interpolation)
        self.second_size = None if second_size is None else check_size(second_size, 'second_size')
        self.second_interpolation = interpolation_name(second_interpolation)

    def draw(self, img):
        params = super().draw(img)
        if self._random:
            return (*params, 'bilinear' if rng().random() < 0.5 else 'bicubic')
        return params

    def apply(self, img, top, left, h, w, interpolation=None):
        first = resize_part(img, top, left, h, w, *self.size, interpolation or self.interpolation)
        if self.second_size is None:
            return first
        return first, resize_part(img, top, left, h, w, *self.second_size, self.second_interpolation)

    def looks_at(self, img, top, left, h, w, interpolation=None):
        if 'nearest' in (self.interpolation, self.second_interpolation):
            return None
        return (h, w, *(self.size if self.second_size is None else map(max, self.size, self.second_size)))
