# Copyright (c) mmssl contributors. All rights reserved.
"""Images without files, to try a recipe before the data are there."""
import cv2
import numpy as np

from mmssl.utils.errors import ConfigError, check_integer
from mmssl.utils.logger import get_root_logger
from ..registry import DATASOURCES
from .base import ArraySource

_RANGES = dict(uint8=255, uint16=65535, float32=1.)  # of values from black to white
_COARSE = 8  # pixels between the values of the noise that are drawn


@DATASOURCES.register_module()
class Synthetic(ArraySource):
    """Images that are computed when they are asked for: no file is read.

    Image i is the same in every process and epoch. Its label is i modulo `num_classes`, which the image does not show:
    nothing can be learnt. The values are those of VISSL's synthetic data: grey, or smooth noise.

    Args:
        data_prefix, ann_file (str | list[str], optional): Are not read, as the log says: so a recipe for files becomes
            one without by the option `type=Synthetic`.
        num_images (int): Number of images.
        shape (tuple[int]): Height, width and channels.
        fill (str): 'noise' (each image another one, smooth over 8 pixels) or 'grey' (all of them 128 of 255).
        dtype (str): 'uint8', 'uint16' (0 to 65535) or 'float32' (0 to 1).
        num_classes (int): Number of different labels.
        seed (int): Of the noise.
        kwargs: See BaseDataSource.
    """

    def __init__(self,
                 data_prefix=None,
                 ann_file=None,
                 num_images=50000,
                 shape=(256, 256, 3),
                 fill='noise',
                 dtype='uint8',
                 num_classes=1000,
                 seed=0,
                 **kwargs):
        for value, name in ((num_images, 'num_images'), (num_classes, 'num_classes'), *((n, 'shape') for n in shape)):
            check_integer(value, f'{name} of Synthetic', 1)
        if len(shape) != 3:
            raise ConfigError(f'shape of Synthetic is height, width and channels, such as (256, 256, 3), got {shape}')
        if shape[2] > 512 or kwargs.get('color_type') == 'grayscale' and shape[2] != 1:
            raise ConfigError(f'shape of Synthetic has {shape[2]} channels: ' +
                              ('512 at most' if shape[2] > 512 else "1 with color_type='grayscale'"))
        if fill not in ('noise', 'grey'):
            raise ConfigError(f"fill of Synthetic is 'noise' or 'grey', got {fill!r}")
        if dtype not in _RANGES:
            raise ConfigError(f'dtype of Synthetic is {", ".join(_RANGES)}, got {dtype!r}')
        if data_prefix or ann_file:
            get_root_logger().info('Synthetic: the images are computed; data_prefix and ann_file are not read')
        self.num_images, self.shape, self.fill, self.dtype = num_images, tuple(shape), fill, dtype
        self.num_classes, self.seed = num_classes, seed
        super().__init__(None, **kwargs)

    def load_annotations(self):
        return range(self.num_images), (np.arange(self.num_images) % self.num_classes).astype(np.int32)

    def read(self, idx):
        number, white = self.samples[idx], _RANGES[self.dtype]
        if self.fill == 'grey':
            value = 128 / 255 * white
            return np.full(self.shape, value if self.dtype == 'float32' else round(value), self.dtype)
        height, width, channels = self.shape
        coarse = -(-height // _COARSE) + 1, -(-width // _COARSE) + 1, channels
        noise = np.random.default_rng((self.seed, number)).random(coarse, np.float32) * np.float32(white)
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR).reshape(self.shape)
        return noise if self.dtype == 'float32' else np.round(noise).astype(self.dtype)
