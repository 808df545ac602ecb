# Copyright (c) mmssl contributors. All rights reserved.
"""Datasets made of datasets."""
from bisect import bisect_right

import numpy as np
from mmcv.utils import print_log
from torch.utils.data import ConcatDataset as _ConcatDataset
from torch.utils.data import Dataset, Subset

from mmssl.utils.errors import ConfigError
from mmssl.utils.indices import rows_by_value
from .classes import join_classes
from .registry import DATASETS, build_dataset
from .single_view import top_k_accuracies


def _built(dataset):
    return build_dataset(dataset) if isinstance(dataset, (dict, list, tuple)) else dataset


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """Datasets one after another; `idx` of a sample is its index in the whole.

    Classes are joined by name: a class that several parts have has one label. The group flags of the parts (attribute
    `flag`, see GroupSampler) are joined, where all have one.

    Args:
        datasets (list[Dataset | dict]): The parts.
    """

    def __init__(self, datasets):
        if not datasets:
            raise ConfigError('ConcatDataset needs at least one dataset')
        super().__init__([_built(d) for d in datasets])
        self.CLASSES = join_classes(self.datasets)
        if all(hasattr(d, 'flag') for d in self.datasets):
            self.flag = np.concatenate([d.flag for d in self.datasets])

    def __getitem__(self, idx):
        sample = super().__getitem__(idx)
        if 'idx' in sample:
            sample['idx'] = idx
        return sample

    @property
    def gt_labels(self):
        """ndarray: Labels of all samples, where the parts have them."""
        return np.concatenate([d.gt_labels for d in self.datasets])

    def evaluate(self, results, logger=None, **options):
        """Metrics over all samples, under their usual names, and of each part as 'set<number>_<name>'.

        Args:
            results (dict[str, ndarray]): Outputs by name, as many rows a sample as the parts take.
            logger (logging.Logger | str, optional): Where the metrics are printed; 'silent' for nowhere.
            options: Of the parts' `evaluate`.

        Returns:
            dict[str, float]: Each over all samples is the mean of the parts', weighted by their labelled samples.
        """
        total, parts, start = {}, {}, 0
        weights = [int((d.gt_labels >= 0).sum()) if hasattr(d, 'gt_labels') else len(d) for d in self.datasets]
        for number, (part, weight) in enumerate(zip(self.datasets, weights)):
            stop = start + len(part)
            own = {}
            for name, rows in results.items():
                each = len(rows) // len(self)
                own[name] = rows[each * start:each * stop]
            start = stop
            if not weight:
                continue
            for name, value in part.evaluate(own, logger='silent', **options).items():
                total[name] = total.get(name, 0.) + value * weight / sum(weights)
                parts[f'set{number}_{name}'] = value
        if not total:
            raise ValueError('no sample has a label, so there is no accuracy')
        for name, value in {**total, **parts}.items() if logger != 'silent' else ():
            print_log(f'{name}: {value:.3f}', logger=logger)
        return {**total, **parts}


@DATASETS.register_module()
class RepeatDataset(Dataset):
    """A dataset several times over, so that an epoch of a small one lasts.

    Each repetition is augmented anew; `idx` of a sample is its index in the dataset itself.

    Args:
        dataset (Dataset | dict | list[dict]): The dataset, or several that are joined.
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

    @property
    def gt_labels(self):
        """ndarray: Labels of all samples, where the data set has them."""
        return np.tile(self.dataset.gt_labels, self.times)

    def __getitem__(self, idx):
        return self.dataset[idx % len(self.dataset)]

    def __len__(self):
        return self.times * len(self.dataset)


@DATASETS.register_module()
class ClassBalancedSubset(Subset):
    """A share of the labelled samples of each class, for learning with few labels; `idx` counts in the subset.

    The choice depends on seed and labels only: it is the same in every process, and a larger share of the same seed
    holds a smaller one.

    Args:
        dataset (Dataset | dict | list[dict]): With labels, or several that are joined; samples without a
            label (-1) are left out.
        fraction (float, optional): Share of each class, above 0 and at most 1, rounded up: 0.01 for one per cent.
        per_class (int, optional): Samples of each class instead.
        seed (int): Of the choice.

    Raises:
        ConfigError: Neither or both of the numbers, or a class with fewer samples than `per_class`.
    """

    def __init__(self, dataset, fraction=None, per_class=None, seed=0):
        dataset = _built(dataset)
        if not hasattr(dataset, 'gt_labels'):
            raise ConfigError(f'ClassBalancedSubset needs labels, {type(dataset).__name__} has none: take '
                              'SingleViewDataset, or several of them')
        if (fraction is None) == (per_class is None):
            raise ConfigError(f'either fraction or per_class is needed, got {fraction!r} and {per_class!r}')
        if fraction is not None and not 0 < fraction <= 1:
            raise ConfigError(f'fraction must be above 0 and at most 1, got {fraction!r}')
        if per_class is not None and (not isinstance(per_class, int) or per_class < 1):
            raise ConfigError(f'per_class must be a positive integer, got {per_class!r}')
        labels = np.asarray(dataset.gt_labels)
        chosen = []
        for label, members in zip(*rows_by_value(labels)):
            if label < 0:
                continue
            count = per_class or int(np.ceil(fraction * len(members) - 1e-9))
            if count > len(members):
                name = label if getattr(dataset, 'CLASSES', None) is None else dataset.CLASSES[label]
                raise ConfigError(f'class {name} has {len(members)} samples, fewer than per_class={per_class}')
            chosen.append(np.random.default_rng([seed, int(label)]).permutation(members)[:count])
        if not chosen:
            raise ConfigError(f'none of the {len(labels)} samples has a label')
        super().__init__(dataset, np.sort(np.concatenate(chosen)).tolist())
        self.CLASSES = getattr(dataset, 'CLASSES', None)

    @property
    def gt_labels(self):
        """ndarray: Labels of the samples that were chosen."""
        return np.asarray(self.dataset.gt_labels)[self.indices]

    def evaluate(self, results, logger=None, topk=(1, 5)):
        """Top-k accuracy; see SingleViewDataset.evaluate."""
        return top_k_accuracies(results, self.gt_labels, logger, topk)

    def __getitem__(self, idx):
        return dict(self.dataset[self.indices[idx]], idx=idx)

    def __getitems__(self, indices):
        return [self[idx] for idx in indices]


def distinct(dataset):
    """The data set whose indices are the `idx` of the samples: without repetitions around it."""
    while isinstance(dataset, RepeatDataset):
        dataset = dataset.dataset
    return dataset


def leaves(dataset):
    """The data sets that are no wrappers, of a data set: those that `locate` finds.

    Args:
        dataset (Dataset): A data set or a wrapper.

    Returns:
        list[Dataset]: In the order of the samples.
    """
    if isinstance(dataset, _ConcatDataset):
        return [leaf for part in dataset.datasets for leaf in leaves(part)]
    return leaves(dataset.dataset) if isinstance(dataset, (RepeatDataset, Subset)) else [dataset]


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
