# Copyright (c) mmssl contributors. All rights reserved.
"""From a data set to batches on the device: keyed randomness, broken images, normalisation."""
import atexit
import copy
import json
import logging
import math
import weakref
from collections import deque
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mmssl.utils.dist import default_device
from mmssl.utils.errors import BrokenImageError, ConfigError, nearest, printable
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import atomic_write
from .dataset_wrappers import ClassBalancedSubset, ConcatDataset, RepeatDataset, distinct, locate
from .device_steps import leave_to_device
from .pipelines.deferred import DeferredImages
from .pipelines.format import fill_gaps
from .pipelines.rng import global_generators, reseed, seed_batch, seed_sample
from .read_ahead import FilesAhead, ReadAhead, ask_for, check_files_ahead, remote_sources, warn_of_a_small_cache
from .registry import build_collator

_MAX_DRAWS = 20  # broken images in a row, after which a replacement is given up
_MAX_BLIND_DRAWS = 100  # of replacements; where half of the images are free, so many never hit taken ones alone
_ABSENT = object()  # in the place of a sample that is left out
_MIN_SEEN = 100  # samples before which a share of broken ones says nothing


class _Batch(list):
    """The keys of a batch, or its samples, with what its own random numbers are keyed by.

    Attributes:
        key (tuple[int, int, int]): Seed, epoch and number of the batch in the epoch.
        of_all (Sequence[int]): Indices of the batches that all processes have at that time, where there are several.
    """
    key = (0, 0, 0)
    of_all = ()


class EpochBatchSampler(Sampler):
    """Batches of (epoch, index) keys, beginning at any batch of an epoch.

    Args:
        sampler (Sampler): Yields indices; its `set_epoch` is called where it has one. One with `iterate(start)` begins
            at an index in the middle at once, of others those before it are passed over.
        batch_size (int): Samples in a batch.
        drop_last (bool): Leave out a last batch that is not full.
    """

    def __init__(self, sampler, batch_size, drop_last=False):
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.start = 0
        self._epoch = 0
        self._begun = None

    @property
    def epoch(self):
        return getattr(self.sampler, 'epoch', self._epoch)

    def set_epoch(self, epoch, start=0):
        """Say which epoch comes next.

        Args:
            epoch (int): The epoch, from 0.
            start (int): Number of its batches to leave out, since they are done already.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f'start must be 0 to {len(self)} batches, got {start}')
        self._epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)
        self.start = start
        self._begun = None

    def begin(self):
        """Settle which epoch is next: one that nobody announced is the one behind the last."""
        if self._begun == self.epoch:
            self.set_epoch(self.epoch + 1)
        elif self._begun is not None:  # a hook has announced it to the sampler alone
            self.start = 0
        self._begun = self.epoch

    def __iter__(self):
        epoch, size = self.epoch, self.batch_size
        start, number = self.start * size, self.start
        indices = self.sampler.iterate(start) if hasattr(self.sampler, 'iterate') else islice(self.sampler, start, None)
        whole = self.sampler.of_all() if getattr(self.sampler, 'num_replicas', 1) > 1 and hasattr(
            self.sampler, 'of_all') else None
        if whole is not None:
            everywhere = self.sampler.num_replicas * size
            whole = whole.iterate(self.start * everywhere)
        while batch := _Batch((epoch, idx) for idx in islice(indices, size)):
            if whole is not None:
                batch.of_all = np.fromiter(islice(whole, everywhere), np.int64)
            if len(batch) == size or not self.drop_last:
                batch.key = 0, epoch, number
                yield batch
            number += 1

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _keys_itself(dataset):
    """Whether all randomness of a dataset is that of its pipelines, which key what they draw."""
    if isinstance(dataset, ConcatDataset):
        return all(map(_keys_itself, dataset.datasets))
    if isinstance(dataset, (RepeatDataset, ClassBalancedSubset)):
        return _keys_itself(dataset.dataset)
    # that of a plain list is written in C and belongs to no module
    return getattr(type(dataset).__getitem__, '__module__', '').startswith('mmssl.')


class KeyedDataset(Dataset):
    """What a worker sees: batches by keys, with seeded randomness and broken images replaced or left out.

    Args:
        dataset (Dataset): Any dataset; it is asked for plain integers.
        seed (int): The seed of the run.
        broken (str): What is done about a broken image: 'replace' takes a sample that is not in the batch, 'skip'
            leaves it out, 'stop' lets its error go on.
    """

    def __init__(self, dataset, seed, broken='stop'):
        self.dataset = dataset
        self.seed = seed
        self.broken = broken
        # datasets written by users may draw from the global generators
        self._generators = nullcontext if _keys_itself(dataset) else global_generators
        self._remote = bool(remote_sources(dataset))

    def __getitems__(self, keys):
        """One batch.

        Args:
            keys (list[tuple[int, int]]): Epoch and index of each sample.

        Returns:
            tuple[list, list]: The samples, and (index, file name, reason) of each broken image that was met.
        """
        broken, taken = [], set()
        if self._remote:
            ask_for(self.dataset, [idx for _, idx in keys])
        try:
            samples = [self._get(epoch, idx, broken, taken, keys) for epoch, idx in keys]
            batch = _Batch(sample for sample in samples if sample is not _ABSENT)
            batch.key = self.seed, *getattr(keys, 'key', batch.key)[1:]
            return batch, broken
        finally:
            reseed()  # in the main process: whoever asks the dataset for a sample next shall get a random view of it

    def _read(self, epoch, place, idx):
        # the key is that of the place in the epoch, also when the image is another one than planned: a batch in
        # which an image stands in for a broken one shows two different augmentations of it
        seed_sample(self.seed, epoch, place)
        with self._generators():
            return self.dataset[idx]

    def _get(self, epoch, idx, broken, taken, keys):
        try:
            return self._read(epoch, idx, idx)
        except BrokenImageError as error:
            if self.broken == 'stop':
                raise
            broken.append((idx, error.filename, error.reason))
            if self.broken == 'skip':
                return _ABSENT
        if not taken:  # the first broken image of this batch
            taken.update(self._image(planned) for _, planned in keys)
            taken.update(self._image(int(planned)) for planned in getattr(keys, 'of_all', ()))
        tried = 0
        for other in self._others(np.random.default_rng((self.seed, epoch, idx)), taken):
            try:
                return self._read(epoch, idx, other)
            except BrokenImageError as error:
                broken.append((other, error.filename, error.reason))
            tried += 1
            if tried == _MAX_DRAWS:
                raise ConfigError(f'{tried + 1} broken images in a row; the last: ' + _words(broken[-3:]))
        size = max(len(keys), len(getattr(keys, 'of_all', ())))
        raise ConfigError(
            f'no image is left to stand in for {_words(broken[-tried - 1:][:1])}: the other ones of '
            f'{len(self.dataset)} samples are in its batch of {size} already'
            f'{", or are broken as well" if tried else ""}. Take smaller batches (data.samples_per_gpu), or take '
            'the broken images out of the data; tools/analysis_tools/find_broken_images.py lists them all')

    def _image(self, idx):
        """What two indices of one image have in common, whatever repeats or joins data sets."""
        dataset, idx = locate(self.dataset, idx)
        return id(dataset), idx

    def _others(self, rng, taken):
        """Random indices of images that are not taken, which are taken from then on."""
        length = len(self.dataset)
        for draw in range(_MAX_BLIND_DRAWS + 1):
            if draw < _MAX_BLIND_DRAWS:
                found = [int(rng.integers(length))]
            else:  # nearly all are taken, so there are few: a look at each
                found = rng.permutation(length).tolist()
            for other in found:
                image = self._image(other)
                if image not in taken:
                    taken.add(image)
                    yield other


def _words(broken):
    return '; '.join(f'{printable(name)} ({printable(reason)})' for _, name, reason in broken)


def too_many_broken(count, seen, max_share, first_pass):
    """Whether more images are broken than a share of those seen; in the first pass so many more may be chance."""
    limit = max_share * seen
    return count > limit + (3 * math.sqrt(limit) if first_pass else 0)


def left_out(broken, total):
    """Words on images that are left out.

    Args:
        broken (Sequence[tuple[int, str, str]]): Index, file name and reason of each.
        total (int): Number of all images.

    Returns:
        str: Their count and the first three.
    """
    more = f'; and {len(broken) - 3} more' if len(broken) > 3 else ''
    return f'{len(broken)} of {total} images cannot be read and are left out: {_words(broken[:3])}{more}'


def write_broken(path, broken):
    """Write the names of broken images to a JSON file, and remove one of an earlier run where there are none.

    Names come out of it as they were, whatever bytes they have: they are escaped.

    Args:
        path (str | Path): The file: a list of objects with `file` and `reason`.
        broken (Sequence[tuple[int, str, str]]): Index, file name and reason of each.
    """
    if not broken:
        Path(path).unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        json.dump([dict(file=name, reason=reason) for _, name, reason in broken], file, indent=1)


class _CollateKeyed:
    """What KeyedDataset gives -> a batch (None where all images are left out), images asked for, and broken ones."""

    def __init__(self, collate):
        self.collate = collate

    def __call__(self, found):
        samples, broken = found
        batch = None
        if samples:
            seed_batch(*samples.key)
            try:
                with nullcontext() if getattr(self.collate, 'native', False) else global_generators():
                    batch = self.collate(samples)
            finally:
                reseed()
        return batch, len(samples) + len(broken), broken


def check_broken_policy(policy, allowed=('replace', 'skip', 'stop'), cfg=None):
    """The policy for broken images by its name of today: 'raise' and 'fail' were those of 'stop'.

    Raises:
        ConfigError: There is no such policy, or not here.
    """
    policy = {'raise': 'stop', 'fail': 'stop'}.get(policy, policy)
    if policy not in allowed:
        names = ' or '.join(map(repr, allowed))
        raise ConfigError(f'the policy for broken images must be {names} here, got {policy!r}', cfg)
    return policy


class EpochLoader:
    """torch's DataLoader with epochs that begin anywhere, keyed randomness and a count of broken images.

    Args:
        dataset (Dataset): The data set.
        sampler (Sampler): Yields the indices of this process.
        batch_size (int): Samples of this process in a batch.
        drop_last (bool): Leave out a last batch that is not full.
        seed (int): With epoch, index and view it determines every random choice.
        broken_images (dict, optional): `policy`, 'replace' (by another sample, drawn by the same key, that is not in
            this batch of any process), 'skip' (batches become smaller) or 'stop'; `max_share`, the share of replaced
            images beyond which training stops. Default: replace, 0.01.
        collate (dict | Callable, optional): What puts the samples of a batch together, see build_collator.
        device_steps (bool): Leave colour steps, and what stands behind them, to the device; batches then hold
            DeferredImages, and PrefetchLoader does the steps.
        read_ahead (int, optional): For files on a slow disk: ask the system for those of so many samples to come.
        kwargs: Arguments of torch.utils.data.DataLoader.

    Attributes:
        met (deque[tuple[int, str, str]]): Index, file name and reason of each broken image that this process has met;
            of those that are replaced, the last three.
        broken (int): Number of broken files met so far by this process.
        replaced (int): Number of images for which others stood in.
        seen (int): Number of images asked for.
    """

    def __init__(self,
                 dataset,
                 sampler,
                 batch_size,
                 drop_last=False,
                 seed=0,
                 broken_images=None,
                 collate=None,
                 device_steps=False,
                 read_ahead=None,
                 **kwargs):
        options = dict(policy='replace', max_share=0.01)
        for name in broken_images or {}:
            if name not in options:
                raise ConfigError(f'broken_images has no option {name!r}; {nearest(name, options)}', broken_images)
        options.update(broken_images or {})
        self.policy = check_broken_policy(options['policy'], cfg=broken_images)
        self.dataset = dataset
        self.sampler = sampler
        self.max_share = options['max_share']
        if isinstance(self.max_share, bool) or not (isinstance(self.max_share,
                                                               (int, float)) and 0 <= self.max_share <= 1):
            raise ConfigError(f'broken_images.max_share is a share from 0 to 1, got {self.max_share!r}', broken_images)
        self.seen = self.replaced = 0
        self.collate = build_collator(collate)
        if device_steps and not getattr(self.collate, 'native', False):
            raise ConfigError(f'data.device_steps=True works with the collators of mmssl, which put together images '
                              f'whose steps are not done yet; {type(self.collate).__name__} is another')
        self.met = deque(maxlen=3 if self.policy == 'replace' else None)
        self._files = set()
        self._remote = bool(remote_sources(dataset))
        if self._remote:
            warn_of_a_small_cache(dataset, sampler)
        if read_ahead is not None:
            check_files_ahead(dataset, sampler, read_ahead)
        self.read_ahead = read_ahead
        self.batch_sampler = EpochBatchSampler(sampler, batch_size, drop_last)
        self._in_order = dict(seed=seed, broken_images=options, device_steps=device_steps, **kwargs)
        self.loader = DataLoader(
            KeyedDataset(leave_to_device(dataset) if device_steps else dataset, seed, self.policy),
            batch_sampler=self.batch_sampler,
            collate_fn=_CollateKeyed(self.collate),
            generator=torch.Generator(),  # so that an iterator leaves the global generator alone: resume is exact
            **kwargs)

    def set_epoch(self, epoch, start=0):
        """Say which epoch comes next, and how many of its batches are done. Without it epochs follow each other."""
        self.batch_sampler.set_epoch(epoch, start)

    def close(self):
        """End the workers, which else wait for the next epoch."""
        iterator, self.loader._iterator = self.loader._iterator, None
        if hasattr(iterator, '_shutdown_workers'):  # not where batches are made in this process
            iterator._shutdown_workers()

    def in_order(self, part):
        """Some samples in order and once, with the views of the first epoch.

        Args:
            part (range): The samples, counted in the data set itself where that is repeated.

        Returns:
            EpochLoader: A loader of them alone.
        """
        options = {name: value for name, value in self._in_order.items() if name != 'persistent_workers'}
        return EpochLoader(distinct(self.dataset), part, self.batch_sampler.batch_size, **options)

    def __len__(self):
        return len(self.batch_sampler)

    def __iter__(self):
        self.batch_sampler.begin()
        done, size = self.batch_sampler.start, self.batch_sampler.batch_size
        ahead, batches = None, iter(self.loader)  # which forks workers
        _end_at_exit(batches)
        if self._remote and (hasattr(self.sampler, 'iterate') or isinstance(self.sampler, range)):
            ahead = ReadAhead(self.dataset, self.sampler, done * size)
        elif self.read_ahead is not None:
            ahead = FilesAhead(self.dataset, self.sampler, done * size, self.read_ahead)
        try:
            for batch, seen, broken in batches:
                self._count(seen, broken)
                done += 1
                if ahead is not None:
                    ahead.advance(done * size)
                if batch is not None:
                    yield batch
        finally:
            if ahead is not None:
                ahead.stop()

    @property
    def broken(self):
        return len(self._files)

    def _count(self, seen, broken):
        self.seen += seen
        self.met += broken
        self.replaced += len(broken) if self.policy == 'replace' else 0
        for idx, name, reason in broken:
            if name not in self._files:
                self._files.add(name)
                if self.policy == 'replace':
                    _warn('broken image, replaced by another: %s', _words([(idx, name, reason)]))
        if self.seen >= _MIN_SEEN and too_many_broken(self.replaced, self.seen, self.max_share, self.seen < len(
                self.sampler)):
            raise ConfigError(
                f'{self.replaced} of {self.seen} images were broken and replaced ({self.broken} files), a share of '
                f'{self.replaced / self.seen:.3f}; broken_images.max_share allows {self.max_share}. The last: '
                f'{_words(self.met)}. tools/analysis_tools/find_broken_images.py lists them all')


_iterators = weakref.WeakSet()


def _end_at_exit(iterator):
    """Have the workers of an iterator over a loader end with this process: they are told, where torch would wait 5 s.

    torch's own exit function, which it registers with the iterator, waits for each worker and then sends SIGTERM.
    """
    _iterators.add(iterator)
    atexit.unregister(_end_workers)
    atexit.register(_end_workers)  # functions registered last are called first


def _end_workers():
    for iterator in list(_iterators):
        if hasattr(iterator, '_shutdown_workers'):  # not where batches are made in this process
            iterator._shutdown_workers()


def _warn(message, *args):
    get_root_logger()  # it has the handlers
    logger = logging.getLogger('mmssl.data')
    logger.setLevel(logging.WARNING)  # on every rank: each sees other files
    logger.warning(message, *args)


class PrefetchLoader:
    """Batches on the device, images normalised there.

    On a GPU both happen on a stream of their own, while the last batch is still computed on.

    Args:
        loader (EpochLoader | Iterable): Yields batches.
        mean (Sequence[float], optional): Mean of each channel, of values divided by `max_value`; one number serves for
            all. Only batches of images that the pipeline normalises do without.
        std (Sequence[float], optional): Standard deviation of each channel.
        device (torch.device | str, optional): Where batches go; None: this process's GPU where there is one.
        channels_last (bool): Memory format of the images.
        max_value (float, optional): What stored values are divided by first: 255 for uint8 where it is None. Images of
            uint16 and float32 need it; 1 is for statistics in their own units. Missing values (NaN) become 0, the mean.
        stored (bool, optional): Whether images of float32 are stored values, and not normalised yet. None: the data
            set of the loader tells.
    """

    def __init__(self, loader, mean=None, std=None, device=None, channels_last=False, max_value=None, stored=None):
        self.loader = loader
        self.device = torch.device(device) if device is not None else default_device()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.scale = self.shift = None
        self.max_value = max_value
        self.stored = leaves_stored(getattr(loader, 'dataset', None)) if stored is None else stored
        if max_value is not None and not 0 < max_value < math.inf:
            raise ConfigError(f'max_value of img_norm_cfg must be positive and finite, got {max_value!r}')
        if mean is None or std is None:
            return
        mean, std = (torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in (mean, std))
        if not (len(mean) and len(std) and mean.isfinite().all() and std.isfinite().all()):
            raise ConfigError('mean and std of img_norm_cfg are finite numbers, one a channel, got '
                              f'mean={mean.flatten().tolist()}, std={std.flatten().tolist()}')
        if len(mean) != len(std) and 1 not in (len(mean), len(std)):
            raise ConfigError(f'mean of img_norm_cfg is of {len(mean)} channels, std of {len(std)}')
        if (std <= 0).any():
            raise ConfigError(f'std must be positive, got {std.flatten().tolist()}')
        if mean.max() > 5 and max_value is None:
            raise ConfigError(f'mean and std are of values scaled to 0..1, got mean={mean.flatten().tolist()}: divide '
                              'by 255, or set max_value=1 where they are in the units of the images')
        top = 255 if max_value is None else max_value
        # (x / top - mean) / std = x * scale + shift = (x - middle) * scale
        self.scale, self.shift, self.middle = (
            v.float().to(self.device) for v in (1 / (top * std), -mean / std, top * mean))

    @property
    def sampler(self):
        return self.loader.sampler

    @property
    def batch_sampler(self):
        return self.loader.batch_sampler

    @property
    def dataset(self):
        return self.loader.dataset

    @property
    def collate(self):
        return self.loader.collate

    @property
    def met(self):
        return self.loader.met

    @property
    def broken(self):
        return self.loader.broken

    @property
    def replaced(self):
        return self.loader.replaced

    def set_epoch(self, epoch, start=0):
        """See EpochLoader."""
        self.loader.set_epoch(epoch, start)

    def close(self):
        """See EpochLoader.close."""
        self.loader.close()

    def in_order(self, part):
        """See EpochLoader; batches on the device, as those of this loader."""
        loader = copy.copy(self)
        loader.loader = self.loader.in_order(part)
        return loader

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        if self.device.type != 'cuda':
            for batch in self.loader:
                yield self.prepare(batch)
            return
        stream = torch.cuda.Stream(self.device)
        for batch in self.loader:
            # the host runs ahead of the device: this happens while the device still computes on the last batch
            with torch.cuda.stream(stream):
                batch = self.prepare(batch)
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(stream)
            # the allocator must not hand the memory to the next batch while this one is in use
            map_tensors(batch, lambda t: t.record_stream(current))
            yield batch

    def prepare(self, batch):
        """Batch on the device, with all steps on images done, and stored images normalised to float32."""
        batch = map_tensors(batch, lambda t: t.to(self.device, non_blocking=True))
        if isinstance(batch, dict) and 'img' in batch:
            batch['img'] = map_tensors(batch['img'], self._image)
        return batch

    def _image(self, img):
        if isinstance(img, DeferredImages):
            img = img.done()
        deep = img.dtype == torch.uint16 or self.stored and img.dtype == torch.float32
        normalise = deep or img.dtype == torch.uint8
        if img.dim() == 5 and normalise:  # patches
            return self._image(img.flatten(0, 1)).unflatten(0, img.shape[:2])
        if img.dim() != 4:  # masks and targets that come with the image
            return img
        if not normalise:
            return img.contiguous(memory_format=self.memory_format)
        kind = str(img.dtype).removeprefix('torch.')
        if self.scale is None:
            raise ConfigError(f'{kind} images need img_norm_cfg=dict(mean=..., std=...) and prefetch=True; or let the '
                              'pipeline end with ToTensor and Normalize')
        for values in (self.scale, self.shift):
            if len(values) not in (1, img.shape[1]):
                raise ConfigError(
                    f'mean and std are of {len(values)} channels, as the network takes them, and the images have '
                    f'{img.shape[1]}: give images of {len(values)} channels')
        if deep and self.max_value is None:
            raise ConfigError(f'images of {kind} do not say which value is 1: set img_norm_cfg.max_value, to 1 where '
                              'mean and std are in the units of the images')
        img = img.to(torch.float32, memory_format=self.memory_format)
        if not deep:
            return img.mul_(self.scale).add_(self.shift)
        img.sub_(self.middle).mul_(self.scale)  # in this order no digits are lost far from 0
        return fill_gaps(img) if kind == 'float32' else img


def leaves_stored(dataset):
    """Whether all images leave a data set as they were stored, and not normalised yet (`prefetch`)."""
    if hasattr(dataset, 'datasets'):
        return all(map(leaves_stored, dataset.datasets))
    if hasattr(dataset, 'prefetch'):
        return bool(dataset.prefetch)
    return hasattr(dataset, 'dataset') and leaves_stored(dataset.dataset)


def map_tensors(data, function):
    """Nested dicts, lists and tuples (which become lists) with each tensor replaced by `function(tensor)`.

    DeferredImages count as tensors.
    """
    if isinstance(data, (torch.Tensor, DeferredImages)):
        return function(data)
    if isinstance(data, dict):
        return {key: map_tensors(value, function) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [map_tensors(value, function) for value in data]
    return data
