# Copyright (c) mmssl contributors. All rights reserved.
"""Datasets made of datasets."""
from bisect import bisect_right

import numpy as np
from torch.utils.data import ConcatDataset as _ConcatDataset
from torch.utils.data import Dataset, Subset

from mmssl.utils.errors import ConfigError
from .builder import DATASETS, build_dataset


def _built(dataset):
    return build_dataset(dataset) if isinstance(dataset, (dict, list, tuple)) else dataset


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """Datasets one after another; `idx` of a sample is its index in the whole.

    The group flags of the parts (attribute `flag`, see GroupSampler) are joined, where all have one.

    Args:
        datasets (list[Dataset | dict]): The parts.
    """

    def __init__(self, datasets):
        if not datasets:
            raise ConfigError('ConcatDataset needs at least one dataset')
        super().__init__([_built(d) for d in datasets])
        self.CLASSES = getattr(self.datasets[0], 'CLASSES', None)
        if all(hasattr(d, 'flag') for d in self.datasets):
            self.flag = np.concatenate([d.flag for d in self.datasets])

    def __getitem__(self, idx):
        sample = super().__getitem__(idx)
        if 'idx' in sample:
            sample['idx'] = idx
        return sample


@DATASETS.register_module()
class RepeatDataset(Dataset):
    """A dataset several times over, so that an epoch of a small one lasts.

    Each repetition is augmented anew; `idx` of a sample is its index in the dataset itself.

    Args:
        dataset (Dataset | dict): The dataset.
        times (int): Number of repetitions.
    """

    def __init__(self, dataset, times):
        if not isinstance(times, int) or times < 1:
            raise ConfigError(f'times must be a positive integer, got {times!r}')
        self.dataset = _built(dataset)
        self.times = times
        self.CLASSES = getattr(self.dataset, 'CLASSES', None)
        if hasattr(self.dataset, 'flag'):
            self.flag = np.tile(self.dataset.flag, times)

    def __getitem__(self, idx):
        return self.dataset[idx % len(self.dataset)]

    def __len__(self):
        return self.times * len(self.dataset)


def distinct(dataset):
    """The data set whose indices are the `idx` of the samples: without repetitions around it."""
    while isinstance(dataset, RepeatDataset):
        dataset = dataset.dataset
    return dataset


def locate(dataset, idx):
    """The data set that a sample comes from, below wrappers of several data sets or a part of one.

    Args:
        dataset (Dataset): A data set or a wrapper.
        idx (int): The sample's `idx`.

    Returns:
        tuple[Dataset, int]: The innermost data set, and the sample's index in it.
    """
    while True:
        if isinstance(dataset, RepeatDataset):
            dataset, idx = dataset.dataset, idx % len(dataset.dataset)
        elif isinstance(dataset, _ConcatDataset):
            part = bisect_right(dataset.cumulative_sizes, idx)
            dataset, idx = dataset.datasets[part], idx - (dataset.cumulative_sizes[part - 1] if part else 0)
        elif isinstance(dataset, Subset):
            dataset, idx = dataset.dataset, dataset.indices[idx]
        else:
            return dataset, idx


def sample_name(dataset, idx):
    """Where a sample comes from, for messages.

    Args:
        dataset (Dataset): A data set or a wrapper of several.
        idx (int): The sample's `idx`.

    Returns:
        str: The file's name where there is one.
    """
    dataset, place = locate(dataset, idx)
    source = getattr(dataset, 'data_source', None)
    return str(source.get_filename(place)) if hasattr(source, 'get_filename') else f'sample {idx}'
