# Copyright (c) mmssl contributors. All rights reserved.
"""Patches of a grid, cut out of one image."""
import math

import numpy as np

from ..images import is_pillow, to_array, to_pillow
from .rng import rng


def grid_side(num_patches):
    """Cells along a side of a square grid of so many patches.

    Raises:
        ValueError: There is no such grid.
    """
    side = math.isqrt(num_patches) if isinstance(num_patches, int) and num_patches > 0 else 0
    if side < 2 or side**2 != num_patches:
        raise ValueError(f'num_patches must be a square number, 4 or more, such as 9; got {num_patches!r}')
    return side


def image_to_patches(img, side=3, jitter=None):
    """Cut one patch out of each cell of a grid, of 3 x 3 cells by default.

    An image of 255 x 255 pixels has cells of 85 pixels and patches of 64, which lie anywhere in their cells: borders
    of neighbours do not meet, and their distances vary, so that continued edges do not give the place away. Images of
    other sizes are cut in the same proportions.

    Args:
        img (ndarray | PIL.Image.Image): uint8, H x W x C.
        side (int): Cells along each side of the grid.
        jitter (int, optional): By how many pixels a patch is smaller than its cell, in height and width; 21/85 of it.

    Returns:
        list[ndarray | PIL.Image.Image]: side ** 2 patches in raster order, all of one size, uint8, h x w x C; Pillow
            images of such.

    Raises:
        TypeError: `img` is no such image.
        ValueError: It is too small for a grid.
    """
    back, img = to_pillow if is_pillow(img) else np.ascontiguousarray, to_array(img)
    if not isinstance(img, np.ndarray) or img.ndim != 3:
        raise TypeError(f'patches are cut out of an H x W x C array, got {type(img).__name__}: steps that make tensors '
                        'belong in format_pipeline')
    height, width = img.shape[:2]
    smallest = side * (3 if jitter is None else jitter + 1)  # a cell of 3 pixels has room for a jitter of one
    if min(height, width) < smallest:
        raise ValueError(f'an image of {height} x {width} pixels is too small for {side} x {side} patches with a '
                         f'jitter{"" if jitter is None else f" of {jitter}"}: it takes {smallest} x {smallest} or more')
    cell = np.array([height // side, width // side])
    jitter = np.round(cell * 21 / 85).astype(int) if jitter is None else np.array([jitter, jitter])
    h, w = cell - jitter
    shifts = rng().integers(0, jitter, (side**2, 2), endpoint=True)
    corners = cell * [(row, column) for row in range(side) for column in range(side)] + shifts
    return [back(img[y:y + h, x:x + w]) for y, x in corners]
