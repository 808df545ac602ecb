# Copyright (c) mmssl contributors. All rights reserved.
"""Resizing of arrays, anti-aliased as Pillow's and as fast as can be."""
import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from PIL import Image

from ..images import ReducedImage
from .gaps import over_gaps, within_type

_DENSE = 320  # pixels of the longer side
_METHODS = ('nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming')  # in the order of Pillow's numbers
_TORCH = {
    name: getattr(torch._C._nn, f'_upsample_{name}2d_aa')
    for name in ('bilinear', 'bicubic', 'lanczos')
    if hasattr(torch._C._nn, f'_upsample_{name}2d_aa')  # lanczos came after 2.6, the oldest PyTorch that we take
}
_SPARE = 24  # pixels that may be made in vain, see _grid


def interpolation_name(interpolation):
    """The method's name.

    Args:
        interpolation (str | int | Enum): Name, Pillow's number (2 bilinear, 3 bicubic) or an InterpolationMode.

    Raises:
        ValueError: No such method.
    """
    value = getattr(interpolation, 'value', interpolation)
    if isinstance(value, int) and 0 <= value < len(_METHODS):
        return _METHODS[value]
    if value not in _METHODS:
        raise ValueError(f'interpolation must be one of {", ".join(_METHODS)} or its number in Pillow '
                         f'(2 bilinear, 3 bicubic), got {interpolation!r}')
    return value


def resize(img, height, width, interpolation='bilinear'):
    """Resize an image; anti-aliased where it becomes smaller, except for 'nearest'.

    Missing pixels (NaN) have no weight: what comes out is NaN only where no pixel below it is valid, or next to none.

    Args:
        img (ndarray): uint8, uint16 or float32, H x W x C.
        height (int): In pixels.
        width (int): In pixels.
        interpolation (str): See interpolation_name.

    Returns:
        ndarray: Of the same type, height x width x C.
    """
    h, w, c = img.shape
    if h == height and w == width:
        return img
    if interpolation == 'nearest':
        return cv2.resize(img, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).reshape(height, width, c)
    if img.dtype != np.uint8:
        lobes = interpolation in ('bicubic', 'lanczos')  # negative weights: too few valid pixels would blow up
        return over_gaps(img, lambda img: _resize_deep(img, height, width, interpolation), 0.25 if lobes else 1e-3)
    if interpolation == 'bilinear' and h <= height and w <= width:
        # without reduction there is nothing to filter, and this takes half the time
        return cv2.resize(img, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, c)
    if c > 4:  # there is no fast kernel for that many at once
        parts = [resize(img[..., i:i + 4], height, width, interpolation) for i in range(0, c, 4)]
        return np.concatenate(parts, axis=2)
    if interpolation in _TORCH:
        # the copy costs less than what the kernel takes longer with a crop; it takes uint8 in channels_last as is
        return _resize_by_torch(img.copy(), height, width, interpolation)
    method = Image.Resampling[interpolation.upper()]
    if c == 3:
        return np.array(Image.fromarray(img).resize((width, height), method))
    planes = [np.asarray(Image.fromarray(img[..., i]).resize((width, height), method)) for i in range(c)]
    return np.stack(planes, axis=2)


def _resize_deep(img, height, width, interpolation):
    """Resize a uint16 or float32 image without missing pixels; values of uint16 are rounded."""
    h, w, c = img.shape
    if interpolation == 'bilinear' and h <= height and w <= width:
        return cv2.resize(img, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, c)
    values = np.ascontiguousarray(img, np.float32)
    if interpolation not in _TORCH:
        method = Image.Resampling[interpolation.upper()]
        planes = [np.asarray(Image.fromarray(values[..., i]).resize((width, height), method)) for i in range(c)]
        out = np.stack(planes, axis=2)
    elif max(h, w) <= _DENSE:  # for small images a product of matrices takes two thirds of the kernel's time
        rows = torch.matmul(_matrix(h, height, interpolation), torch.from_numpy(values.reshape(h, -1)))
        out = torch.matmul(_matrix(w, width, interpolation), rows.view(height, w, c)).numpy()
    else:
        batch = torch.from_numpy(values.transpose(2, 0, 1).copy())[None]  # takes less time than channels last
        out = _TORCH[interpolation](batch, (height, width), False, None, None)[0].permute(1, 2, 0).contiguous().numpy()
    return within_type(out, img.dtype)  # bicubic goes beyond


@lru_cache(maxsize=1024)
def _matrix(size, new_size, interpolation):
    """The weights of the pixels of a column in those of the resized one: new_size x size."""
    return _TORCH[interpolation](torch.eye(size)[None, None], (new_size, size), False, None, None)[0, 0].clone()


def _resize_by_torch(img, height, width, interpolation, *scales):
    """Resize a contiguous array; `scales` are those of height and width where the sizes do not tell."""
    # NumPy moves axes in a fraction of PyTorch's time. The new axis needs a stride, which [None] does not give it, or
    # the kernel does not see that the channels of a pixel lie side by side, and takes half as long again
    batch = torch.from_numpy(img.reshape(1, *img.shape).transpose(0, 3, 1, 2))
    out = _TORCH[interpolation](batch, (height, width), False, *(scales or (None, None))).numpy()
    return out.transpose(0, 2, 3, 1)[0]


def resize_part(img, top, left, h, w, height, width, interpolation='bilinear'):
    """Cut a part out and resize it.

    Args:
        img (ndarray | ReducedImage): uint8, H x W x C.
        top, left, h, w (int): The part, in pixels of the whole image.
        height (int): That it gets, in pixels.
        width (int): That it gets, in pixels.
        interpolation (str): See interpolation_name.

    Returns:
        ndarray: uint8, height x width x C.
    """
    if not isinstance(img, ReducedImage):
        return resize(img[top:top + h, left:left + w], height, width, interpolation)
    left, top, right, bottom = img.box(top, left, h, w)
    grids = _grid(left, right, width), _grid(top, bottom, height)
    if interpolation in _TORCH and img.shape[2] <= 4 and None not in grids:
        (more_x, x), (more_y, y) = grids
        part = img.pixels[max(y, 0):math.ceil(bottom), max(x, 0):math.ceil(right)]
        # also where there is no border, this makes the copy that the kernel needs
        part = cv2.copyMakeBorder(part, max(-y, 0), 0, max(-x, 0), 0, cv2.BORDER_REPLICATE)
        out = _resize_by_torch(
            part.reshape(*part.shape[:2], -1), height + more_y, width + more_x, interpolation, height / (bottom - top),
            width / (right - left))
        return np.ascontiguousarray(out[more_y:, more_x:])
    x, y = int(left), int(top)
    part = np.ascontiguousarray(img.pixels[y:math.ceil(bottom), x:math.ceil(right)])
    method, box = Image.Resampling[interpolation.upper()], (left - x, top - y, right - x, bottom - y)
    if part.shape[2] == 3:
        return np.array(Image.fromarray(part).resize((width, height), method, box))
    planes = [Image.fromarray(np.ascontiguousarray(part[..., i])) for i in range(part.shape[2])]
    return np.stack([np.asarray(plane.resize((width, height), method, box)) for plane in planes], axis=2)


def _grid(start, end, size):
    """Whole pixels at which a resampling may begin that means to begin within one.

    Rounded to a whole pixel, the edge of a part would shift the image by up to half a pixel of the result. Pillow takes
    edges within pixels, but takes three times as long as the other kernels, which do not. So let these make some pixels
    more than are wanted, so many that the first of them begins where a pixel of the image does.

    Args:
        start (float): Where the part begins, in pixels.
        end (float): Where it ends.
        size (int): Number of pixels that it gets.

    Returns:
        tuple[int, int] | None: How many pixels more to make, and the pixel at which the first of them begins; None
            where none of a few numbers comes within a sixteenth of a pixel.
    """
    step = (end - start) / size
    for more in range(_SPARE):
        first = start - more * step
        if abs(first - round(first)) < 1 / 16:
            return more, round(first)
    return None
