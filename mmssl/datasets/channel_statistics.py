# Copyright (c) mmssl contributors. All rights reserved.
"""Mean, standard deviation, range and percentiles of each channel of all images of a data set, in bounded memory."""
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmssl.utils.errors import BrokenImageError, ConfigError, check_integer
from .builder import worker_init_fn
from .dataset_wrappers import distinct, locate

_BINS = 2**16
_MOST = 2**24  # values that are looked at in one go
PERCENTILES = (1, 50, 99)


def _bins(values):
    """Numbers of the bins of values: uint8 and uint16 have one each, float32 one for all of the same first 16 bits."""
    if values.dtype != np.float32:
        return values.astype(np.int64)
    bits = values.view(np.int32).astype(np.int64)
    ordered = np.where(bits < 0, -2**31 - bits, bits)  # negative numbers have a sign and not a complement
    return (ordered >> 16) + 2**15


def _value_of(bins, kind):
    """What stands for the values of bins: for floats within 0.4% of each."""
    if kind != np.float32:
        return bins.astype(np.float64)
    ordered = ((bins.astype(np.int64) - 2**15) << 16) + 2**15
    bits = np.where(ordered < 0, -2**31 - ordered, ordered)
    return bits.astype(np.int32).view(np.float32).astype(np.float64)


@dataclass
class ChannelStatistics:
    """Statistics of some images, which can be joined with those of others.

    Attributes:
        kind (dtype): Type of the images.
        count (ndarray): Valid values, by channel.
        mean (ndarray): Their mean, float64.
        squares (ndarray): Sum of their squared distances to it, float64.
        low (ndarray): The lowest one.
        high (ndarray): The highest one.
        bins (ndarray): Channels x 65536 counts, see _bins.
        pixels (int): All pixels, with missing ones.
        images (int): Number of images.
    """
    kind: np.dtype
    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bins: np.ndarray
    pixels: int
    images: int = 1

    @classmethod
    def of(cls, img):
        """Those of one image.

        Args:
            img (ndarray): uint8, uint16 or float32, H x W x C; NaN is a missing value.
        """
        if img.size > _MOST and len(img) > 1:
            half = len(img) // 2
            whole = cls.of(img[:half]).join(cls.of(img[half:]))
            whole.images = 1
            return whole
        values = np.ascontiguousarray(img).reshape(-1, img.shape[2])
        channels = values.shape[1]
        valid = ~np.isnan(values) if values.dtype == np.float32 else None
        if valid is None or valid.all():
            count = np.full(channels, len(values))
            mean = values.mean(0, np.float64)
            squares = np.square(values - mean).sum(0)
            low, high = values.min(0), values.max(0)
            flat = _bins(values) + _BINS * np.arange(channels)
        else:
            count = valid.sum(0)
            mean = np.sum(values, 0, np.float64, where=valid) / np.maximum(count, 1)
            squares = np.square(values - mean).sum(0, where=valid)
            low, high = np.min(values, 0, where=valid, initial=np.inf), np.max(values, 0, where=valid, initial=-np.inf)
            flat = (_bins(values) + _BINS * np.arange(channels))[valid]
        bins = np.bincount(flat.ravel(), minlength=_BINS * channels).reshape(channels, _BINS)
        return cls(values.dtype, count, mean, squares, low, high, bins, len(values))

    def join(self, other):
        """Add those of other images, after Chan, Golub and LeVeque (1979), so that large offsets lose no digits.

        Raises:
            ConfigError: They are of another type or number of channels.
        """
        if (self.kind, len(self.mean)) != (other.kind, len(other.mean)):
            raise ConfigError(f'images differ: {self.kind} of {len(self.mean)} channels, and {other.kind} of '
                              f'{len(other.mean)}; a network takes one kind')
        count = self.count + other.count
        distance, share = other.mean - self.mean, other.count / np.maximum(count, 1)
        self.mean = self.mean + distance * share
        self.squares = self.squares + other.squares + distance**2 * self.count * share
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.count, self.bins = count, self.bins + other.bins
        self.pixels, self.images = self.pixels + other.pixels, self.images + other.images
        return self

    @property
    def std(self):
        """ndarray: Standard deviation of each channel, over all of its valid values."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    @property
    def missing(self):
        """ndarray: Share of missing values (NaN) of each channel."""
        return 1 - self.count / self.pixels

    def percentile(self, q):
        """The value below which q per cent of a channel are: exact for integers, within 0.4% for float32."""
        reached = np.cumsum(self.bins, 1) >= np.maximum(np.ceil(self.count * q / 100), 1)[:, None]
        return np.clip(_value_of(reached.argmax(1), self.kind), self.low, self.high)


class _Blocks(Dataset):
    """Statistics of blocks of images, which no worker divides otherwise: sums are the same whoever makes them."""

    def __init__(self, dataset, samples, size):
        self.dataset, self.samples, self.size = dataset, samples, size

    def __len__(self):
        return -(-len(self.samples) // self.size)

    def __getitem__(self, number):
        total, broken = None, []
        block = self.samples[number * self.size:(number + 1) * self.size]
        for idx in block:
            leaf, place = locate(self.dataset, int(idx))
            try:
                img = leaf.stored(place)
            except BrokenImageError as error:
                broken.append((int(idx), error.filename, error.reason))
                continue
            if not isinstance(img, np.ndarray):
                raise ConfigError('several data sources side by side have statistics of their own: name one of them')
            found = ChannelStatistics.of(img)
            try:
                total = found if total is None else total.join(found)
            except ConfigError as error:
                raise ConfigError(f'sample {idx} ({leaf.data_source.get_filename(place)}): {error}') from error
        return total, broken, len(block)


def channel_statistics(dataset, num=None, workers=0, seed=0, progress=None):
    """Statistics of the stored images of a data set, before any step.

    Args:
        dataset (Dataset): A data set; repetitions are read once.
        num (int, optional): So many images, drawn at random; by default all.
        workers (int): Processes that read; 0 reads in this one. The result does not depend on it.
        seed (int): Of the draw.
        progress (Callable, optional): Called with the number of images read since the last call.

    Returns:
        tuple[ChannelStatistics, list[tuple[int, str, str]]]: The statistics; and index, file and reason of each image
        that cannot be read.

    Raises:
        ConfigError: `num` is not positive, images differ in type or channels, or none can be read.
    """
    dataset = distinct(dataset)
    if num is not None and num < 1:
        raise ConfigError(f'num must be 1 or more, got {num}')
    check_integer(seed, 'seed of the draw', 0)
    check_integer(workers, 'the number of workers', 0)
    samples = range(len(dataset))
    if num is not None and num < len(dataset):
        samples = np.sort(np.random.default_rng(seed).choice(len(dataset), num, replace=False))
    size = min(max(len(samples) // 256, 8), 1024)
    loader = DataLoader(
        _Blocks(dataset, samples, size),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_prepare_worker if workers else None,
        generator=torch.Generator())
    total, broken = None, []
    for found, bad, read in loader:
        if found is not None:
            total = found if total is None else total.join(found)
        broken += bad
        if progress:
            progress(read)
    if total is None:
        raise ConfigError(f'none of {len(samples)} images can be read; the first: {broken[0][1]} ({broken[0][2]})')
    return total, broken


def _prepare_worker(worker_id):
    worker_init_fn(worker_id, 1, 0, 0)


def normalisation_of(statistics):
    """Settings by which images of these statistics are normalised.

    Args:
        statistics (ChannelStatistics): Of the images to train on.

    Returns:
        dict: img_norm_cfg: uint8 in the scale 0..1, all else in its own units. A channel of one value gets the
            deviation 1.
    """
    top = 255 if statistics.kind == np.uint8 else 1
    std = np.where(statistics.std > 0, statistics.std, top)
    norm = {
        name: [float(f'{v:.6g}') for v in values / top]
        for name, values in (('mean', statistics.mean), ('std', std))
    }
    return norm if top == 255 else dict(norm, max_value=1)
