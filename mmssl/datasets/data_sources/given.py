# Copyright (c) mmssl contributors. All rights reserved.
"""Images that a program has at hand: names of files, or arrays."""
import numpy as np

from mmssl.utils.errors import ConfigError
from ..images import IMAGE_TYPES
from ..registry import DATASOURCES
from .base import ArraySource, BaseDataSource, CompactStrings


class Files(BaseDataSource):
    """Images by their paths, which are the `ann_file`."""

    def load_annotations(self):
        return CompactStrings(self.ann_file), np.full(len(self.ann_file), -1, np.int32)


@DATASOURCES.register_module()
class Arrays(ArraySource):
    """Images of one size that stand in one array, N x H x W x C or N x H x W.

    Args:
        data_prefix (str, optional): A .npy file, which is mapped: what is not looked at is not read.
        images (Sequence, optional): Instead of a file: an array, or a list of arrays H x W x C of any sizes. For
            programs, as a config file holds neither.
        color_type (str): 'color' makes three channels of one, 'grayscale' one of three; other numbers of channels, and
            values of more than 8 bits, stay as they are.
        kwargs: See BaseDataSource; `labels` gives labels.

    Raises:
        ConfigError: There is neither a file nor an array, or it holds no images: 1 to 512 channels of uint8, uint16 or
            float32.
    """

    def __init__(self, data_prefix=None, images=None, color_type='color', **kwargs):
        self._images = images
        super().__init__(data_prefix, color_type=color_type, **kwargs)
        del self._images

    def load_annotations(self):
        if (self.data_prefix is None) == (self._images is None):
            raise ConfigError('Arrays needs either data_prefix, a .npy file of N x H x W x C, or images, the array')
        images = self._images
        if images is None:
            try:
                images = np.load(self.data_prefix, mmap_mode='r', allow_pickle=False)
            except ValueError as error:
                raise ConfigError(f'{self.data_prefix} is no .npy file of numbers: {error}') from error
        if isinstance(images, np.ndarray):
            images = _checked(images, 'an array of images', 3)
        else:
            images = tuple(_checked(np.asarray(image), f'image {i}', 2) for i, image in enumerate(images))
        return images, np.full(len(images), -1, np.int32)

    def get_filename(self, idx):
        return f'image {idx}' + (f' of {self.data_prefix}' if self.data_prefix else '')

    def read(self, idx):
        # the conversions of ArraySource are for values of 8 bits
        return super().read(idx) if self.samples[idx].dtype == np.uint8 else np.array(self.samples[idx])


def _checked(images, what, ndim):
    """Images with an axis of channels, `ndim` axes being those without."""
    if images.ndim == ndim:
        images = images[..., None]
    if images.ndim != ndim + 1 or images.dtype not in IMAGE_TYPES or not 1 <= images.shape[-1] <= 512:
        kinds = ', '.join(kind.name for kind in IMAGE_TYPES)
        axes = 'N x H x W x C or N x H x W' if ndim == 3 else 'H x W x C or H x W'
        raise ConfigError(f'{what} is {axes} of {kinds}; got {images.dtype} of the shape {images.shape}')
    return images
