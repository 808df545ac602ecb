# Copyright (c) mmssl contributors. All rights reserved.
"""A random order in which neighbours stay close: shards and folders are read a few at a time."""
import numpy as np
from torch.utils.data import ConcatDataset, Subset

from mmssl.utils.dist import processes_of_a_node
from mmssl.utils.errors import ConfigError, check_integer
from ..dataset_wrappers import RepeatDataset
from ..registry import SAMPLERS
from .distributed_sampler import EpochSampler, random_order, share_out


def block_ends(dataset):
    """Where the blocks of a data set end: samples `ends[b-1]` to `ends[b] - 1` are stored together.

    Args:
        dataset (Dataset): One whose source has the attribute `blocks`, or a wrapper of such.

    Returns:
        ndarray | None: int64, ascending, the last is the length of the data set; None where a source names no blocks.

    Raises:
        ConfigError: A Subset takes the samples in another order than they are stored in.
    """
    if isinstance(dataset, ConcatDataset):
        parts = [block_ends(part) for part in dataset.datasets]
        if any(part is None for part in parts):
            return None
        return np.concatenate([part + stop - part[-1] for part, stop in zip(parts, dataset.cumulative_sizes)])
    if isinstance(dataset, RepeatDataset):
        ends = block_ends(dataset.dataset)
        return None if ends is None else (ends + len(dataset.dataset) * np.arange(dataset.times)[:, None]).reshape(-1)
    if isinstance(dataset, Subset):
        ends, indices = block_ends(dataset.dataset), np.asarray(dataset.indices)
        if ends is not None and (np.diff(indices) < 0).any():
            raise ConfigError(
                f'{type(dataset).__name__} takes its samples in another order than they are stored in, so '
                'they make no blocks: sort its indices')
        return ends if ends is None else np.searchsorted(indices, ends)
    ends = getattr(getattr(dataset, 'data_source', None), 'blocks', None)
    return None if ends is None else np.asarray(ends, np.int64)


class BlockOrder:
    """Runs of neighbours, one after another, shuffled within windows of some of them.

    Args:
        firsts (ndarray): First sample of each run.
        sizes (ndarray): Samples of each run.
        window (int): Runs in a window, at most; the windows are equally large, give or take a run.
        key (Sequence[int]): With the number of a window, that of its order.
    """

    def __init__(self, firsts, sizes, window, key):
        self.key = key
        self._ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._shifts = firsts - self._ends[:-1]  # from the place of a sample in the runs to its index
        count = len(sizes)
        windows = max(1, -(-count // window))
        self._starts = self._ends[np.arange(windows + 1) * count // windows]  # of the windows
        self._last = None, None

    def __len__(self):
        return int(self._ends[-1])

    def __getitem__(self, places):
        numbers, found = self.window(places), np.empty(len(places), np.int64)
        for number in np.unique(numbers).tolist():
            here = numbers == number
            start = self._starts[number]
            among = start + self._shuffled(number)[places[here] - start]
            found[here] = among + self._shifts[np.searchsorted(self._ends, among, 'right') - 1]
        return found

    def window(self, places):
        """Number of the window of each place."""
        return np.searchsorted(self._starts, places, 'right') - 1

    def _shuffled(self, number):
        last = self._last  # that of another thread may be another window by the next line
        if last[0] != number:
            count = int(self._starts[number + 1] - self._starts[number])
            last = self._last = number, random_order(count, (*self.key, number))
        return last[1]


@SAMPLERS.register_module()
class BlockShuffleSampler(EpochSampler):
    """Blocks in random order, and the samples of a few blocks shuffled together: each block is read in one go.

    For data where a random sample is expensive: shards on a server, of which a node keeps a few, or small files on a
    slow disk. Every sample comes once an epoch. Every (seed, epoch) has its own order, which begins anywhere at the
    cost of one window; memory does not grow with the samples, only with the blocks.

    A batch is drawn from one window: where neighbours are alike, as in folders of classes, a window has to hold many
    blocks, or the data have to be shuffled when they are packed.

    Args:
        dataset, num_replicas, rank, seed, batch_size, drop_last: See EpochSampler.
        window (int): Blocks that are shuffled together.
        block_size (int, optional): So many neighbours make a block. None: the blocks of the data source, such as the
            shards of `Shards`.
        split (str): Who reads which block. 'all': each process takes its share of every batch of the one order, and
            so reads of all blocks; W processes with batches of B see what one with W * B sees. 'node': the blocks are
            split over the machines, whose processes share each batch of it. 'process': they are split over the
            processes. At the cuts a block is read in two places; every sample still comes once.

    Raises:
        ConfigError: The data source names no blocks and block_size is None; a number is not positive.
    """

    def __init__(self,
                 dataset,
                 num_replicas=None,
                 rank=None,
                 window=16,
                 block_size=None,
                 split='all',
                 seed=0,
                 batch_size=1,
                 drop_last=False):
        super().__init__(dataset, num_replicas, rank, seed, batch_size, drop_last)
        check_integer(window, 'window', 1)
        if block_size is not None:
            check_integer(block_size, 'block_size', 1)
        if split not in ('all', 'node', 'process'):
            raise ConfigError(f"split must be 'all', 'node' or 'process', got {split!r}")
        n = len(dataset)
        self.ends = block_ends(dataset) if block_size is None else np.append(np.arange(block_size, n, block_size), n)
        if self.ends is None:
            raise ConfigError('the data source names no blocks, such as the shards of Shards: set block_size, for '
                              'example to 64 files that are neighbours in the order of their names')
        if not len(self.ends) or self.ends[-1] != n or (np.diff(self.ends) < 0).any() or self.ends[0] < 0:
            raise ConfigError(f'the blocks of the data source are numbers that ascend up to its {n} samples, got '
                              f'{self.ends[:3]}...{self.ends[-3:]}')
        self.window = window
        self.split = split
        self._team = dict(all=self.num_replicas, process=1).get(split) or processes_of_a_node(self.num_replicas)
        self._made = None, None

    def global_indices(self):
        """BlockOrder: That of this epoch, over the processes that share the blocks of this one."""
        if self._made[0] != self.epoch:
            self._made = self.epoch, self._order()
        return self._made[1]

    def of_all(self):
        """BlockShuffleSampler | None: See EpochSampler; None where processes have blocks of their own, and no image."""
        if self._team < self.num_replicas:
            return None
        whole = super().of_all()
        whole._team = 1
        return whole

    def _order(self):
        blocks = self.rng().permutation(len(self.ends))
        starts = np.concatenate([[0], self.ends[:-1]])
        runs = starts[blocks], self.ends[blocks] - starts[blocks]
        team, length = self.rank // self._team, len(self) * self._team
        if self._team < self.num_replicas:
            runs = _cut(*runs, team * length, (team + 1) * length)
        return BlockOrder(*runs, self.window, (self.seed, self.epoch, team))

    def _places(self, positions):
        return share_out(positions, len(self), self.rank % self._team, self._team, self.batch_size)


def _cut(firsts, sizes, start, stop):
    """The runs that hold places start..stop-1 of their samples, which are repeated from the first one on."""
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    total, parts = int(ends[-1]), [(firsts[:0], sizes[:0])]  # a process may have none
    while start < stop:
        before = start // total * total
        a, b = start - before, min(stop - before, total)
        i, j = np.searchsorted(ends, a, 'right') - 1, np.searchsorted(ends, b, 'left')
        first, size = firsts[i:j].copy(), sizes[i:j].copy()
        first[0] += a - ends[i]
        size[0] -= a - ends[i]
        size[-1] -= ends[j] - b
        parts.append((first, size))
        start = before + b
    return [np.concatenate(arrays) for arrays in zip(*parts)]
