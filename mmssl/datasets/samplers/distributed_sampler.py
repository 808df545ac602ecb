# Copyright (c) mmssl contributors. All rights reserved.
"""Samplers: which sample comes when, and on which process."""
import copy
from functools import partial

import numpy as np
from torch.utils.data import Sampler

from mmssl.utils.dist import get_dist_info
from mmssl.utils.errors import ConfigError
from mmssl.utils.indices import rows_by_value
from mmssl.utils.permutation import KeyedPermutation, keyed_below
from ..registry import SAMPLERS

LISTED = 2**24  # an order of so many samples is shuffled as a list; a longer one is computed where it is looked at
_PIECE = 2**16  # indices that are made in one go


def random_order(n, key):
    """The numbers 0..n-1 in random order.

    Args:
        n (int): How many.
        key (Sequence[int]): Numbers of 0 or more; each key has its own order.

    Returns:
        ndarray | KeyedPermutation: What gives the entries at an array of places; of up to 2^24 an array.
    """
    if n > LISTED:
        return KeyedPermutation(n, key)
    order = np.arange(n, dtype=np.int32)
    np.random.default_rng(key).shuffle(order)
    return order


def share_out(positions, own, rank, world, size):
    """Where in an order that several processes share the indices of one of them stand.

    Args:
        positions (ndarray): Numbers of the indices, counted in the process's own.
        own (int): Number of indices of each process.
        rank (int): Number of the process.
        world (int): Number of processes.
        size (int): Samples of one process in a batch.

    Returns:
        ndarray: Places in the order.
    """
    whole = own - own * world % (world * size) // world  # of batches that are full in all processes
    batches, offsets = np.divmod(positions, size)
    places = (batches * world + rank) * size + offsets
    return np.where(positions < whole, places, whole * world + rank * (own - whole) + positions - whole)


class _Computed:
    """An order whose entries a function computes from their places."""

    def __init__(self, n, function):
        self.n = n
        self.function = function

    def __len__(self):
        return self.n

    def __getitem__(self, places):
        return self.function(places)


class EpochSampler(Sampler):
    """One global order an epoch, of which each process takes its share of every global batch.

    A global batch is `num_replicas * batch_size` consecutive indices of the order, and rank r takes the r-th slice
    of `batch_size` of them. So W processes with batches of B see, step by step and in the same order, what one process
    with batches of W * B sees.

    Args:
        dataset (Dataset | Sequence): Its length counts.
        num_replicas (int, optional): Number of processes; None: of the process group.
        rank (int, optional): This process; None: its rank in the process group.
        seed (int): Every (seed, epoch) has its own order.
        batch_size (int): Samples of one process in a batch. With 1 the processes take turns, as torch has it.
        drop_last (bool): Leave samples out that do not fill the last round of all processes. Else the order is
            continued from its start until they do.
    """

    def __init__(self, dataset, num_replicas=None, rank=None, seed=0, batch_size=1, drop_last=False):
        current_rank, world_size = get_dist_info()
        self.dataset = dataset
        self.num_replicas = world_size if num_replicas is None else num_replicas
        self.rank = current_rank if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f'rank must be 0 to {self.num_replicas - 1}, got {self.rank}')
        if len(dataset) == 0:
            raise ValueError('the data set is empty')
        self.seed = seed
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def rng(self):
        """The generator of this epoch's order."""
        return np.random.default_rng((self.seed, self.epoch))

    def global_indices(self):
        """ndarray | KeyedPermutation: The order of this epoch over all processes, before it is padded or cut.

        Anything that has a length and gives the indices at an array of places will do.
        """
        raise NotImplementedError

    def local_indices(self):
        """ndarray: The indices of this process in this epoch."""
        return np.concatenate(list(self._pieces(0)) or [np.zeros(0, np.int64)])

    def iterate(self, start=0):
        """Yield the indices of this process in this epoch from one of them on; to begin late takes no longer.

        Args:
            start (int): Number of indices to leave out.

        Yields:
            int: Index in the data set.
        """
        for piece in self._pieces(start):
            yield from piece.tolist()  # as one list they would take five times the memory of an array

    def of_all(self):
        """EpochSampler | None: What yields the batches of all processes, one global batch after another."""
        whole = copy.copy(self)
        whole.num_replicas, whole.rank, whole.batch_size = 1, 0, self.num_replicas * self.batch_size
        return whole

    def _pieces(self, start):
        order, length = self.global_indices(), len(self)
        for begin in range(start, length, _PIECE):
            places = self._places(np.arange(begin, min(begin + _PIECE, length)))
            # behind its end the order is repeated from its start
            yield order[places % len(order) if places[-1] >= len(order) else places]

    def _places(self, positions):
        """Where in the order of all processes the indices of this one stand, counted in its own."""
        return share_out(positions, len(self), self.rank, self.num_replicas, self.batch_size)

    def __iter__(self):
        return self.iterate()

    def __len__(self):
        n, world = len(self.dataset), self.num_replicas
        return n // world if self.drop_last else -(-n // world)


@SAMPLERS.register_module()
class DistributedSampler(EpochSampler):
    """Every sample once an epoch, in random order or as they are.

    The order of more than 2^24 samples is no list that is shuffled: its entries are computed as they are needed (see
    KeyedPermutation), so that memory and start do not grow with the data.

    Args:
        dataset, num_replicas, rank, seed, batch_size, drop_last: See EpochSampler.
        shuffle (bool): Random order.
        replace (bool): Draw with replacement, as many samples as there are.
    """

    def __init__(self,
                 dataset,
                 num_replicas=None,
                 rank=None,
                 shuffle=True,
                 replace=False,
                 seed=0,
                 batch_size=1,
                 drop_last=False):
        if replace and not shuffle:
            raise ConfigError('replace=True draws at random and needs shuffle=True')
        super().__init__(dataset, num_replicas, rank, seed, batch_size, drop_last)
        self.shuffle = shuffle
        self.replace = replace
        self.labels = None

    def set_uniform_indices(self, labels, num_classes):
        """From now on draw each class equally often. Labels and order are lists, however many samples there are.

        Args:
            labels (Sequence[int]): Label of each sample; samples with a label outside 0..num_classes - 1 are left out.
            num_classes (int): Number of classes; those without samples are passed over.
        """
        labels = np.asarray(labels)
        if len(labels) != len(self.dataset):
            raise ValueError(f'{len(labels)} labels for {len(self.dataset)} samples')
        if not self.shuffle:
            raise ConfigError('uniform sampling draws at random and needs shuffle=True')
        self.labels = np.where(labels < num_classes, labels, -1)
        if self.labels.max() < 0:
            raise ValueError(f'no sample has a label within 0..{num_classes - 1}')

    def global_indices(self):
        n = len(self.dataset)
        if not self.shuffle:
            return np.arange(n) if n <= LISTED else _Computed(n, lambda places: places)
        if self.labels is not None:
            return self._uniform_indices()
        key = self.seed, self.epoch
        if not self.replace:
            return random_order(n, key)
        return self.rng().integers(n, size=n) if n <= LISTED else _Computed(n, partial(keyed_below, n, key))

    generate_new_list = global_indices  # its name in MMSelfSup

    def _uniform_indices(self):
        rng, n = self.rng(), len(self.dataset)
        members = [rows for label, rows in zip(*rows_by_value(self.labels)) if label >= 0]
        size = -(-n // len(members))
        # each member of a class comes up equally often, give or take one
        drawn = [np.concatenate([rng.permutation(m) for _ in range(-(-size // len(m)))])[:size] for m in members]
        return rng.permutation(np.concatenate(drawn))[:n]


class DistributedGivenIterationSampler(DistributedSampler):
    """One long run of batches instead of epochs: pass after pass over the data, each in its own order.

    Args:
        dataset, num_replicas, rank, seed: See EpochSampler.
        total_iter (int): Number of batches of the whole run.
        batch_size (int): Samples of one process in a batch.
        last_iter (int): The last batch already done; the run goes on behind it.
    """

    def __init__(self, dataset, total_iter, batch_size, num_replicas=None, rank=None, last_iter=-1, seed=0):
        super().__init__(dataset, num_replicas, rank, seed=seed, batch_size=batch_size)
        self.total_iter = total_iter
        self.last_iter = last_iter

    def gen_new_list(self):
        """Yield the indices of this process."""
        n, world, size = len(self.dataset), self.num_replicas, self.batch_size
        order = number = None
        for it in range(self.last_iter + 1, self.total_iter):
            start = (it * world + self.rank) * size
            passes, places = np.divmod(np.arange(start, start + size), n)
            for each in np.unique(passes).tolist():
                if each != number:
                    self.epoch = number = each
                    order = self.global_indices()
                yield from order[places[passes == each]].tolist()

    def set_epoch(self, epoch):
        """Nothing: the run has no epochs."""

    def __iter__(self):
        return self.gen_new_list()

    def __len__(self):
        return (self.total_iter - self.last_iter - 1) * self.batch_size
