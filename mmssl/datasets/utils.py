# Copyright (c) mmssl contributors. All rights reserved.
"""Helpers that MMSelfSup keeps in this place."""
import numpy as np

from .loader import PrefetchLoader

__all__ = ['PrefetchLoader', 'to_numpy']

# torchvision has these under the same names; it is imported when one is asked for
_OF_TORCHVISION = ('calculate_md5', 'check_md5', 'check_integrity', 'download_url', 'extract_archive',
                   'download_and_extract_archive')


def to_numpy(pil_img):
    """Pillow image -> uint8 array C x H x W."""
    img = np.array(pil_img, dtype=np.uint8)
    return np.ascontiguousarray(img[None] if img.ndim == 2 else img.transpose(2, 0, 1))


def __getattr__(name):
    if name in _OF_TORCHVISION:
        import torchvision.datasets.utils
        return getattr(torchvision.datasets.utils, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
