# Copyright (c) mmssl contributors. All rights reserved.
"""Tiles of 13 channels and 16 bits: two views of each by mmssl on uint16, and by torchvision on float tensors."""
import io
import os
import tempfile
from functools import partial

import numpy as np
import torch
from scipy import ndimage

from mmssl.datasets.collators import collate_images
from mmssl.datasets.data_sources.folder import find_images
from mmssl.datasets.data_sources.stored import decode_stored
from mmssl.datasets.loader import PrefetchLoader
from mmssl.datasets.pipelines.compose import Compose
from .data_cases import compare

CHANNELS, SIZE = 13, 120
# of the bands of Sentinel-2, in pixels of 10 m: how far each is blurred (20 m, 60 m)
_BLUR = (3, 0, 0, 0, 1, 1, 1, 0, 1, 3, 3, 1, 1)


def tile_of(photo, rng):
    """A tile as a satellite of 13 bands would see a photograph.

    Each band is a mixture of red, green and blue, blurred as far as its resolution says, times 10,000, with an offset,
    noise, and a light that differs from tile to tile.

    Args:
        photo (ndarray): uint8, H x W x 3.
        rng (np.random.Generator): Of light and noise; the mixtures are the same for all tiles.

    Returns:
        ndarray: uint16, H x W x 13.
    """
    mixtures = np.random.default_rng(0).dirichlet([0.7] * 3, CHANNELS)
    bands = photo.astype(np.float64) / 255 @ mixtures.T * np.linspace(9000, 3000, CHANNELS)
    for band, sigma in enumerate(_BLUR):
        bands[..., band] = ndimage.gaussian_filter(bands[..., band], sigma)
    bands *= rng.uniform(0.6, 1.4) * rng.uniform(0.9, 1.1, CHANNELS)
    return (bands + np.linspace(900, 200, CHANNELS) + rng.normal(0, 30, bands.shape)).clip(1, 65535).astype(np.uint16)


def _made_tiles(num):
    """TIFF files of tiles of the two photographs that scikit-learn carries."""
    import tifffile
    from sklearn.datasets import load_sample_images
    rng, files = np.random.default_rng(0), []
    for i in range(num):
        photo = load_sample_images().images[i % 2]
        top, left = (rng.integers(side - SIZE) for side in photo.shape[:2])
        file = io.BytesIO()
        tifffile.imwrite(
            file,
            tile_of(photo[top:top + SIZE, left:left + SIZE], rng),
            photometric='minisblack',
            planarconfig='contig')
        files.append(file.getvalue())
    return files


class _Torchvision:
    """The steps of tiles_mocov2.py by torchvision, on float tensors. It jitters images of 1 or 3 channels only."""

    def __init__(self, mean, std):
        from torchvision import transforms
        self.crop = transforms.RandomResizedCrop(96, (0.2, 1.), antialias=True)
        self.blur = transforms.RandomApply([transforms.GaussianBlur(9, (0.1, 2.))], 0.5)
        self.rest = [
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.Normalize(mean, std)
        ]

    def __call__(self, tile):
        img = self.crop(torch.from_numpy(tile).to(torch.float32).permute(2, 0, 1))
        if torch.rand(()) < 0.8:
            img = img * (0.6 + 0.8 * float(torch.rand(())))
            mean = img.mean((1, 2), keepdim=True)
            img = mean + (img - mean) * (0.6 + 0.8 * float(torch.rand(())))
        img = self.blur(img)
        for step in self.rest:
            img = step(img)
        return img


def run(cfg, data_prefix=None, num=40):
    """See data_cases. The steps are those of configs/selfsup/_base_/datasets/tiles_mocov2.py, whatever `cfg` has."""
    files = [open(os.path.join(data_prefix, name), 'rb').read() for name in list(find_images(data_prefix))[:num]] \
        if data_prefix else _made_tiles(min(num, 40))
    first = decode_stored(files[0])
    channels = first.shape[2]
    mean, std = [1500.] * channels, [1000.] * channels
    native, other = Compose(_steps()), _Torchvision(mean, std)
    device = PrefetchLoader((), mean, std, 'cpu', max_value=1, stored=True)
    folder = tempfile.TemporaryDirectory()
    for i, file in enumerate(files):
        np.save(f'{folder.name}/{i}.npy', decode_stored(file))

    def views(steps, collate, i):
        tile = decode_stored(files[i % len(files)])
        return collate([steps(tile)]), collate([steps(tile)])

    def mapped(i):
        tile = decode_stored(
            np.load(f'{folder.name}/{i % len(files)}.npy', mmap_mode='r').view(np.ndarray), layout='HWC')
        return collate_images([native(tile)]), collate_images([native(tile)])

    ours = partial(views, native, collate_images)
    rows = compare(
        {
            'two views by torchvision on float tensors, normalised': partial(views, other, torch.stack),
            'two views by mmssl on uint16, as workers hand them over': ours,
            'the same, and normalised': lambda i: device.prepare(dict(img=list(ours(i)))),
            'two views by mmssl of mapped .npy files': mapped,
            'reading alone (TIFF)': lambda i: decode_stored(files[i % len(files)])
        }, num)
    view = native(first)
    folder.cleanup()
    return dict(
        rows=rows,
        tile=f'{first.shape[0]} x {first.shape[1]} x {channels} {first.dtype}',
        kilobytes_of_a_view=dict(mmssl=view.nbytes / 1e3, torchvision=view.size * 4 / 1e3))


def _steps():
    """See tiles_mocov2.py."""
    return [
        dict(type='RandomResizedCrop', size=96, scale=(0.2, 1.)),
        dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4)], p=0.8),
        dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
        dict(type='RandomHorizontalFlip'),
        dict(type='RandomVerticalFlip')
    ]
