# Copyright (c) mmssl contributors. All rights reserved.
"""A part of the samples of any data source: so many, a share, so many of each class."""
from collections.abc import Sequence

import numpy as np

from mmssl.utils.errors import Completed, ConfigError, check_integer
from mmssl.utils.indices import rows_by_value
from mmssl.utils.permutation import KeyedPermutation
from mmssl.utils.registry import check_arguments

# methods of sources whose first argument is the number of a sample
_BY_NUMBER = ('get_img', 'get_array', 'get_bytes', 'get_reduced', 'get_filename', 'get_cat_ids', 'read', 'part',
              'will_read')
_SHUFFLED = 2**16  # an order of so many is shuffled as a list; of a longer one only what is taken is computed


class _Part(Sequence):
    """Entries of a sequence by their numbers."""

    def __init__(self, whole, indices):
        self.whole, self.indices = whole, indices

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, idx):
        return self.whole[int(self.indices[idx])]


class SourceSubset:
    """Some samples of a data source, in the order that they have there; `subset=dict(...)` of a data source makes it.

    Nothing of the source is copied but labels. Everything else is asked of the source, by its own numbers: images,
    names, and what attributes it has.

    The choice depends on `seed`, the number of samples and, with `balanced`, on the labels: it is the same in every
    process. With one seed, the samples from `skip` to `skip + num` are others than those from there on, so that a
    training and a validation subset share none: `num=900` and `num=100, skip=900`.

    Args:
        source (object): A data source, also one of other origin.
        num (int, optional): Number of samples.
        share (float, optional): Share of the samples instead, above 0 and at most 1.
        balanced (bool): As many of each class: `num` divided by the number of classes, and one more of the first
            classes where a rest remains. Samples without a label are no part then, nor of what `share` counts.
        seed (int): Of the choice.
        skip (int | float): So many samples of the choice, or a share below 1 of all, come before the subset.

    Attributes:
        source (object): The source.
        indices (ndarray): Numbers in it of the samples, ascending.

    Raises:
        ConfigError: More samples are asked for than there are, or than a class has; there are no labels, or several an
            image; the source is one of a retrieval benchmark.
    """

    def __init__(self, source, num=None, share=None, balanced=False, seed=0, skip=0):
        if hasattr(source, 'ground_truth'):
            raise ConfigError(f'{type(source).__name__} has a ground truth of all its images, which a subset would not '
                              'fit: it takes num_samples instead')
        self.source = source
        labels = self._labels_of(source) if balanced else None
        members = [] if labels is None else [(value, rows) for value, rows in zip(*rows_by_value(labels)) if value >= 0]
        if balanced and not members:
            raise ConfigError(f'balanced=True needs labels, and none of the {len(source)} samples has one')
        total = sum(len(rows) for _, rows in members) if balanced else len(source)
        start, stop = _range(num, share, skip, total)
        check_integer(seed, 'seed of a subset', 0)
        if not balanced:
            self.indices = _choose(total, (seed, ), start, stop)
        else:
            if stop - start < len(members):
                raise ConfigError(f'balanced=True takes one of each class at least: {stop - start} samples are asked '
                                  f'for, there are {len(members)} classes')
            self.indices = np.concatenate([
                rows[self._choose_of_class(
                    label, len(rows), seed,
                    *(place // len(members) + (i < place % len(members)) for place in (start, stop)))]
                for i, (label, rows) in enumerate(members)
            ])
        self.indices = np.sort(self.indices)
        if len(source) < 2**31:
            self.indices = self.indices.astype(np.int32)
        for name in ('labels', 'targets'):
            values = getattr(source, name, None)
            if values is not None and len(values) == len(source):
                setattr(self, name, np.asarray(values)[self.indices])

    def _choose_of_class(self, label, count, seed, start, stop):
        if stop > count:
            names = getattr(self.source, 'CLASSES', None)
            name = label if names is None else names[label]
            raise ConfigError(f'class {name} has {count} samples, and {stop} of it are asked for' +
                              (f' ({start} of them come before the subset)' if start else '') +
                              ': take fewer, or leave balanced out')
        return _choose(count, (seed, int(label)), start, stop)

    @staticmethod
    def _labels_of(source):
        if not hasattr(source, 'get_gt_labels') and not hasattr(source, 'labels'):
            raise ConfigError(f'balanced=True needs labels, and {type(source).__name__} has none')
        return source.get_gt_labels() if hasattr(source, 'get_gt_labels') else source.labels

    def __len__(self):
        return len(self.indices)

    def __getattr__(self, name):
        if name.startswith('__') or name == 'source':  # while it is unpickled, there is none yet
            raise AttributeError(name)
        found = getattr(self.source, name)
        if name in _BY_NUMBER:
            return lambda idx, *args, **kwargs: found(int(self.indices[idx]), *args, **kwargs)
        if name == 'read_ahead':
            return lambda indices: found(self.indices[np.asarray(indices, np.int64)].tolist())
        if name in ('samples', 'data_infos'):
            return _Part(found, self.indices)
        return np.searchsorted(self.indices, found) if name == 'blocks' and found is not None else found

    def get_gt_labels(self):
        """ndarray: Labels of all samples, -1 = unlabelled; see BaseDataSource."""
        return np.asarray(self._labels_of(self.source))[self.indices]


def check_alike(sources):
    """See that image i of sources side by side is image i of all of them.

    Args:
        sources (dict[str, object]): By name, of one length.

    Raises:
        ConfigError: Subsets of sources of one length take different images.
    """
    names = [name for name, source in sources.items() if isinstance(source, SourceSubset)]
    for name in names[1:]:
        first, other = sources[names[0]], sources[name]
        if len(first.source) == len(other.source) and not np.array_equal(first.indices, other.indices):
            raise ConfigError(
                f'the subsets of the data sources {names[0]} and {name} take different images, such as '
                f'{first.indices[0]} and {other.indices[0]} as the first: give them the same num, seed and '
                'skip, and leave balanced out, which goes by the labels of each')


def labels_of_part(source, read, name):
    """Labels from elsewhere of the samples of a source: of a subset, those of the whole are read.

    Args:
        source (object): A data source.
        read (Callable): Number of samples and name -> labels (ndarray).
        name (str): Of the labels, for errors.

    Returns:
        ndarray: A label, or a row of them, for each sample.
    """
    if not isinstance(source, SourceSubset):
        return read(len(source), name)
    return labels_of_part(source.source, read, name)[source.indices]


def _range(num, share, skip, total):
    """Places in the choice where the subset begins and ends."""
    if (num is None) == (share is None):
        raise ConfigError(f'a subset has either num or share, got num={num!r} and share={share!r}')
    if share is not None and not 0 < share <= 1:
        raise ConfigError(f'share of a subset is above 0 and at most 1, got {share!r}')
    if num is not None:
        check_integer(num, 'num of a subset', 1)
    if skip < 0 or isinstance(skip, float) and skip >= 1:
        raise ConfigError(f'skip of a subset is a number of samples, 0 or more, or a share below 1, got {skip!r}')
    start = round(skip * total) if isinstance(skip, float) else skip
    # two shares that add up to 1 leave no sample over
    stop = start + num if num is not None else round((skip + share) * total) if isinstance(skip, float) else \
        start + round(share * total)
    if stop > total:
        raise ConfigError(f'{stop - start} samples are asked for' + (f' behind {start} others' if start else '') +
                          f', there are {total}')
    if stop == start:
        raise ConfigError(f'share={share} of {total} samples is none')
    return start, stop


def _choose(count, key, start, stop):
    """The numbers that stand at the places from start to stop in a random order of 0..count-1."""
    if count <= _SHUFFLED:
        return np.random.default_rng(key).permutation(count)[start:stop]
    return KeyedPermutation(count, key)[np.arange(start, stop)]


def build_with_subset(cfg, build):
    """Build a data source, and take the part of it that the entry `subset` of its config says.

    Args:
        cfg (dict): Config of the source.
        build (callable): Builds a data source of its own config.

    Returns:
        object: The source where `subset` is None, else a SourceSubset of it.

    Raises:
        ConfigError: See SourceSubset.
    """
    whole, subset = Completed(cfg), cfg['subset']
    del whole['subset']
    if subset is not None and not isinstance(subset, dict):
        raise ConfigError(f'subset of a data source is a dict, such as dict(num=1000), got {subset!r}', cfg)
    source = build(whole)
    if subset is None:
        return source
    try:
        check_arguments(SourceSubset, dict(source=source, **subset), subset)
        return SourceSubset(source, **subset)
    except ConfigError as error:
        error.cfg = subset if error.cfg is None else error.cfg
        error.locate_in(cfg)
        raise
