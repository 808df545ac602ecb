# Copyright (c) mmssl contributors. All rights reserved.
"""Helpers that MMSelfSup keeps in this place."""
import numpy as np

from mmssl import old_places
from .loader import PrefetchLoader

__all__ = ['PrefetchLoader', 'rm_suffix', 'to_numpy']


def to_numpy(pil_img):
    """Pillow image -> uint8 array C x H x W."""
    img = np.array(pil_img, dtype=np.uint8)
    return np.ascontiguousarray(img[None] if img.ndim == 2 else img.transpose(2, 0, 1))


def rm_suffix(s, suffix=None):
    """A file name without its suffix: what follows the last dot, or `suffix` and what follows it.

    Args:
        s (str): Name of a file.
        suffix (str, optional): Such as '.tar.gz'.

    Returns:
        str: The name as it is where it has no such suffix.
    """
    end = s.rfind('.' if suffix is None else suffix)
    return s if end < 0 else s[:end]


def __getattr__(name):
    return old_places.lookup(__name__, name)
