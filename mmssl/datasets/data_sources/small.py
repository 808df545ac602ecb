# Copyright (c) mmssl contributors. All rights reserved.
"""Small real data sets that come with a package: scikit-learn's digits, Debian's Fashion-MNIST."""
import gzip
import os.path as osp

import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import ArraySource


class SplitSource(ArraySource):
    """A source in memory with splits.

    Args:
        data_prefix (str, optional): Folder of the files.
        split (str, optional): 'train', 'test' or 'all'; None: 'test' with `test_mode`, else 'train'.
        num_images (int, optional): Take the first so many images of the split.
        classes, test_mode, color_type, channel_order, kwargs: See BaseDataSource.
    """

    def __init__(self,
                 data_prefix=None,
                 split=None,
                 num_images=None,
                 classes=None,
                 test_mode=False,
                 color_type='color',
                 channel_order='rgb',
                 **kwargs):
        self.split = split or ('test' if test_mode else 'train')
        if self.split not in ('train', 'test', 'all'):
            raise ConfigError(f"split must be 'train', 'test' or 'all', got {split!r}")
        self.num_images = num_images
        super().__init__(
            data_prefix,
            classes=classes,
            test_mode=test_mode,
            color_type=color_type,
            channel_order=channel_order,
            **kwargs)

    def load_annotations(self):
        images, labels = self.load_split()
        if self.num_images is not None and not 1 <= self.num_images <= len(images):
            raise ConfigError(f'num_images must be 1 to {len(images)}, got {self.num_images}')
        return images[:self.num_images], labels[:self.num_images].astype(np.int32)


@DATASOURCES.register_module()
class Digits(SplitSource):
    """The 1,797 hand-written digits of 8 x 8 pixels that scikit-learn carries; nothing to download.

    'test' is every fifth image (360 of them), 'train' the other 1,437: the writers come one after the other, and the
    last ones alone would be a harder test than the whole. Grey values 0..16 are scaled to 0..255.

    Args: see SplitSource; `data_prefix` is not used.
    """

    CLASSES = tuple('0123456789')

    def load_split(self):
        from sklearn.datasets import load_digits  # takes a second to import
        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        fifth = np.arange(len(images)) % 5 == 0
        part = dict(train=~fifth, test=fifth, all=slice(None))[self.split]
        return images[part], digits.target[part]


def read_idx(path):
    """Array of unsigned bytes in an IDX file, compressed with gzip or not."""
    with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as file:
        data = file.read()
    dims = data[3] if data[:3] == b'\0\0\x08' else 0
    shape = np.frombuffer(data, '>u4', dims, 4).tolist() if len(data) >= 4 + 4 * dims else []
    if not dims or len(data) != 4 + 4 * dims + int(np.prod(shape)):
        raise ValueError(f'{path} is no complete IDX file of unsigned bytes')
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


@DATASOURCES.register_module()
class FashionMNIST(SplitSource):
    """60,000 + 10,000 grey images of clothes, 28 x 28 pixels, 10 classes (https://arxiv.org/abs/1708.07747).

    Args: see SplitSource; the four IDX files are looked for in `data_prefix`, in the places where torchvision and
        Debian's package put them below it, and where that package is installed.
    """

    CLASSES = ('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot')
    installed = 'usr/share/datasets/fashion-mnist'

    def load_split(self):
        parts = dict(train=['train'], test=['t10k'], all=['train', 't10k'])[self.split]
        images = np.concatenate([read_idx(self._find(f'{p}-images-idx3-ubyte')) for p in parts])
        labels = np.concatenate([read_idx(self._find(f'{p}-labels-idx1-ubyte')) for p in parts])
        if len(images) != len(labels):
            raise ValueError(f'{type(self).__name__}: {len(images)} images, but {len(labels)} labels')
        return images[..., None], labels

    def _find(self, name):
        below = [] if self.data_prefix is None else [
            osp.join(self.data_prefix, folder) for folder in ('', 'raw', 'FashionMNIST/raw', self.installed)
        ]
        for folder in [*below, f'/{self.installed}']:
            for path in (osp.join(folder, name), osp.join(folder, f'{name}.gz')):
                if osp.isfile(path):
                    return path
        target = self.data_prefix or 'data/fashion-mnist'
        raise FileNotFoundError(
            f'FashionMNIST: no file {name} or {name}.gz in {self.data_prefix!r} or /{self.installed}. On Debian or '
            'Ubuntu: "sudo apt-get install dataset-fashion-mnist"; or without root: "apt-get download '
            f'dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb {target}" and data_prefix={target!r}')
