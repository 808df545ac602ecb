# Copyright (c) mmssl contributors. All rights reserved.
"""Classes by name: the labels of every split count in the order of the classes of training."""
from dataclasses import dataclass, field

import numpy as np

from mmssl.utils.errors import ConfigError

_SHOWN = 10  # names in a message


@dataclass
class ClassReport:
    """What the classes of a split have to do with those of training.

    Attributes:
        left_out (dict[str, int]): Images by class that has no image in training; their labels are -1 now.
        absent (list[str]): Classes of training without an image in the split.
        empty (list[str]): Classes that training names but has no image of.
        unknown (dict[int, int]): Images by label that training lacks, where there are no names; they keep it.
        unnamed (bool): Whether one of the two has no names, so that classes are matched by number.
    """
    left_out: dict = field(default_factory=dict)
    absent: list = field(default_factory=list)
    empty: list = field(default_factory=list)
    unknown: dict = field(default_factory=dict)
    unnamed: bool = False

    def log(self, logger, what):
        """Say what differs.

        Args:
            logger (logging.Logger): Where.
            what (str): Name of the split.
        """
        if self.unnamed:
            logger.info(f'{what}: no class names here or in the training data: classes are matched by number')
        if self.empty:
            logger.warning(f'classes without a training image ({len(self.empty)}): {_some(self.empty)}')
        if self.absent:
            logger.info(f'{what}: classes of training without an image here ({len(self.absent)}): {_some(self.absent)}')
        if self.left_out:
            logger.warning(f'{what}: {sum(self.left_out.values())} images of classes without a training image are left '
                           f'out: {_some(f"{name} ({count})" for name, count in self.left_out.items())}')
        if self.unknown:
            logger.warning(f'{what}: {sum(self.unknown.values())} images have labels that no training image has, and '
                           f'count as wrong: {_some(f"{name} ({count})" for name, count in self.unknown.items())}')


def _some(names):
    names = list(names)
    return ', '.join(map(str, names[:_SHOWN])) + (', ...' if len(names) > _SHOWN else '')


def match_labels(labels, names, train_labels, train_names, what='val'):
    """The labels of a split, counted in the order of the classes of training.

    Args:
        labels (ndarray): N integers, -1 where unlabelled.
        names (Sequence[str] | None): Names of the classes that they count.
        train_labels (ndarray | None): Labels of the training samples; None where only the names are known.
        train_names (Sequence[str] | None): Names of the classes of training.
        what (str): Name of the split, for messages.

    Returns:
        tuple[ndarray, ClassReport]: N int64 labels, and what differs.

    Raises:
        ConfigError: The two have no class in common, or a name stands for two classes.
    """
    labels = np.asarray(labels, np.int64)
    known = None if train_labels is None else np.unique(train_labels)
    known = known if known is None else known[known >= 0]
    if known is not None and not len(known):
        return labels, ClassReport()  # training without labels
    own = np.unique(labels[labels >= 0], return_counts=True)
    if names is None or train_names is None:
        unknown = {} if known is None else {int(c): int(n) for c, n in zip(*own) if c not in known}
        return labels, ClassReport(unknown=unknown, unnamed=names is not train_names)
    names, train_names = list(map(str, names)), list(map(str, train_names))
    known = set(range(len(train_names)) if known is None else known.tolist())
    table = translation(names, train_names, what)
    table[~np.isin(table, list(known))] = -1
    left_out = {names[c]: int(n) for c, n in zip(*own) if table[c] < 0}
    if left_out and len(left_out) == len(own[0]):
        raise ConfigError(f'no class of {what} has a training image: {what} has {_some(left_out)}; training has '
                          f'{_some(name for i, name in enumerate(train_names) if i in known)}')
    found = set(table[own[0]].tolist())
    return translate(labels, table), ClassReport(
        left_out=left_out,
        absent=[name for i, name in enumerate(train_names) if i in known and i not in found],
        empty=[name for i, name in enumerate(train_names) if i not in known])


def translation(names, order, what='val'):
    """For each of `names` its position in `order`, -1 where it is not there: an int64 array.

    Raises:
        ConfigError: A name occurs twice, and the two lists differ.
    """
    if names == order:
        return np.arange(len(names))
    for which in (names, order):
        twice = next((name for i, name in enumerate(which) if name in which[:i]), None)
        if twice is not None:
            raise ConfigError(f'the class names of {what} and of training differ, and {twice!r} names two classes: '
                              'they cannot be matched by name')
    position = {name: i for i, name in enumerate(order)}
    return np.array([position.get(name, -1) for name in names], np.int64)


def translate(labels, table):
    """Labels by a table of new ones; -1 stays."""
    return np.where(labels >= 0, table[np.maximum(labels, 0)], -1) if len(table) else np.asarray(labels)


def align_classes(dataset, train=None, names=None, what='val', logger=None):
    """Have the labels of a data set count in the order of the classes of training; changes it in place.

    Args:
        dataset (Dataset): With `gt_labels` and CLASSES, or a wrapper of such; others stay as they are.
        train (Dataset, optional): That of the training.
        names (Sequence[str], optional): Names of its classes, instead of `train`.
        what (str): Name of the split, for messages.
        logger (logging.Logger, optional): Where differences are said.

    Returns:
        ClassReport: What differs.

    Raises:
        ConfigError: See match_labels.
    """
    labels, train_labels = getattr(dataset, 'gt_labels', None), getattr(train, 'gt_labels', None)
    if labels is None or (train_labels is None and names is None):
        return ClassReport()
    names = getattr(train, 'CLASSES', None) if names is None else names
    mapped, report = match_labels(labels, getattr(dataset, 'CLASSES', None), train_labels, names, what)
    if logger is not None:
        report.log(logger, what)
    if not np.array_equal(mapped, labels):
        table = np.full(int(labels.max()) + 1, -1)
        table[labels[labels >= 0]] = mapped[labels >= 0]
        _relabel(dataset, table, names, set())
    return report


def join_classes(datasets):
    """Have the labels of several data sets count the same classes, by name; changes them in place.

    Args:
        datasets (Sequence[Dataset]): The data sets.

    Returns:
        Sequence[str] | None: The names: those of the first, then what the others have besides. Where one has none,
        labels stay as they are, and the names are those of the first.
    """
    names = [getattr(dataset, 'CLASSES', None) for dataset in datasets]
    if any(own is None for own in names) or all(list(own) == list(names[0]) for own in names):
        return names[0]
    joined = tuple(dict.fromkeys(str(name) for own in names for name in own))
    done = set()
    for dataset, own in zip(datasets, names):
        _relabel(dataset, translation(list(map(str, own)), list(joined), 'one data set'), joined, done)
    return joined


def _relabel(dataset, table, names, done):
    """Translate the labels of a data set, each part of it once, and give it the names."""
    if id(dataset) in done:
        return
    done.add(id(dataset))
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        if hasattr(dataset, 'gt_labels'):
            dataset.gt_labels = translate(np.asarray(dataset.gt_labels), table)
    else:
        for part in inner:
            _relabel(part, table, names, done)
    dataset.CLASSES = names
