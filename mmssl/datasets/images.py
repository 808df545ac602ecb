# Copyright (c) mmssl contributors. All rights reserved.
"""Pillow images -> uint8 arrays of height x width x channels, and back."""
import numpy as np
from PIL import Image

DEEP_TYPES = np.dtype(np.uint16), np.dtype(np.float32)  # what sources give whose depth is kept
IMAGE_TYPES = np.dtype(np.uint8), *DEEP_TYPES


class Outline:
    """The size of an image that is not decoded yet: what steps draw by.

    Args:
        height (int): In pixels.
        width (int): In pixels.
        channels (int): Number of channels.
    """

    def __init__(self, height, width, channels=3):
        self.shape = height, width, channels


class ReducedImage(Outline):
    """An image that was decoded at a fraction of its size. Steps that know of it count in pixels of the whole one.

    Args:
        pixels (ndarray): uint8, h x w x C; each is the mean of `reduction` x `reduction` of the whole image.
        reduction (int): Side of such a block.
        height (int): Of the whole image, in pixels.
        width (int): Of the whole image, in pixels.
        margin (Sequence[int]): How far the first row and column of `pixels` begin above and left of the image, in
            pixels of the whole one. The blocks at the lower and right end may reach beyond it as well.
    """

    def __init__(self, pixels, reduction, height, width, margin=(0, 0)):
        super().__init__(height, width, pixels.shape[2])
        self.pixels = pixels
        self.reduction = reduction
        self.margin = margin

    def flipped(self, axis):
        """The image with top and bottom (axis 0) or left and right (axis 1) swapped."""
        height, width = self.shape[:2]
        margin = list(self.margin)
        margin[axis] = self.reduction * self.pixels.shape[axis] - self.shape[axis] - margin[axis]
        return ReducedImage(np.flip(self.pixels, axis), self.reduction, height, width, margin)

    def box(self, top, left, height, width):
        """A part of the image.

        Args:
            top, left, height, width (int): In pixels of the whole image.

        Returns:
            tuple[float, float, float, float]: Left, top, right and lower edge, in pixels of `pixels`.
        """
        top, left = top + self.margin[0], left + self.margin[1]
        return tuple(edge / self.reduction for edge in (left, top, left + width, top + height))


_CONVERTED = {'1': 'L', 'LA': 'RGBA', 'La': 'RGBA', 'RGBa': 'RGBA', 'PA': 'RGBA'}


def in_8_bits(img):
    """A Pillow image of 8-bit channels: palettes are looked up, grey values of more bits are scaled to 0..255.

    Args:
        img (PIL.Image.Image): Of any mode.

    Returns:
        PIL.Image.Image: Of the same mode, or L, RGB or RGBA in place of 1, I, F, P and PA.

    Raises:
        ValueError: Grey values that are no numbers, or floats that are all equal and beyond 0..1.
    """
    if img.mode[0] in 'IF':
        return Image.fromarray(_to_8_bits(np.asarray(img)))
    if img.mode in ('P', 'PA'):
        return img.convert('RGBA' if img.mode == 'PA' or 'transparency' in img.info else 'RGB')
    return img.convert('L') if img.mode == '1' else img


def _to_8_bits(values):
    """Grey values of more than 8 bits, scaled to 0..255."""
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():  # both are NaN where one value is
        bad = np.argwhere(~np.isfinite(values))
        raise ValueError(f'{len(bad)} of {values.size} grey values are no finite numbers, such as '
                         f'{values[tuple(bad[0])]} in row {bad[0][0]}, column {bad[0][1]}')
    if values.dtype == np.uint16 or (values.dtype.kind == 'i' and low >= 0 and high <= 65535):
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    # the file states no range: floats are within 0..1 by custom, anything else is stretched to what is there
    if low >= 0 and high <= 1:
        low, high = 0, 1
    if low == high:
        raise ValueError(f'all grey values are {low}, and the file states no range in which that is dark or bright')
    return np.round((values.astype(np.float64) - low) * (255 / (float(high) - float(low)))).astype(np.uint8)


def to_array(img):
    """An image, or several, as native steps take them.

    Args:
        img (PIL.Image.Image | object): Pillow image, or a tuple or list with such; anything else stays as it is.

    Returns:
        ndarray | object: uint8, H x W x C: 1 channel for grey, 4 with transparency, else 3.

    Raises:
        ValueError: See in_8_bits.
    """
    if isinstance(img, Image.Image):
        if img.mode not in ('L', 'RGB', 'RGBA'):
            img = in_8_bits(img)
            img = img if img.mode == 'L' else img.convert(_CONVERTED.get(img.mode, img.mode))
            img = img if img.mode in ('L', 'RGB', 'RGBA') else img.convert('RGB')
        img = np.array(img)
        return img if img.ndim == 3 else img[..., None]
    if isinstance(img, (tuple, list)):
        return tuple(map(to_array, img))
    return img


def is_deep(img):
    """Whether this is an image of more than 8 bits: uint16 or float32, H x W x C, or several of one size."""
    return isinstance(img, np.ndarray) and img.dtype in DEEP_TYPES and img.ndim in (3, 4)


def is_pillow(img):
    """Whether this is a Pillow image, or a tuple or list that holds one."""
    return isinstance(img, Image.Image) or isinstance(img, (tuple, list)) and any(map(is_pillow, img))


def has_pillow_form(img):
    """Whether Pillow has an image for an array: uint8, H x W x C, of 1, 3 or 4 channels."""
    return isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] in (1, 3, 4)


def to_pillow(img):
    """An image, or several, as users' code and torchvision's steps take them.

    Args:
        img (ndarray | object): uint8, H x W x C, or a tuple or list with such; anything else stays as it is.

    Returns:
        PIL.Image.Image | object: Of mode L, RGB or RGBA; arrays of other numbers of channels stay arrays.
    """
    if has_pillow_form(img):
        return Image.fromarray(img[..., 0] if img.shape[2] == 1 else img)
    if isinstance(img, (tuple, list)):
        return tuple(map(to_pillow, img))
    return img
