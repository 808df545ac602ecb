# Copyright (c) mmssl contributors. All rights reserved.
"""Samplers: which sample comes when, and on which process."""
import numpy as np
from torch.utils.data import Sampler

from mmssl.utils.dist import get_dist_info
from mmssl.utils.errors import ConfigError


class EpochSampler(Sampler):
    """One global order an epoch, of which each process takes its share of every global batch.

    A global batch is `num_replicas * batch_size` consecutive indices of the order, and rank r takes the r-th slice
    of `batch_size` of them. So W processes with batches of B see, step by step and in the same order, what one process
    with batches of W * B sees.

    Args:
        dataset (Dataset): Its length counts.
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
        """ndarray: The order of this epoch over all processes, before it is padded or cut."""
        raise NotImplementedError

    def local_indices(self):
        """ndarray: The indices of this process in this epoch."""
        order, world = self.global_indices(), self.num_replicas
        total = len(self) * world
        if total > len(order):
            order = np.resize(order, total)  # repeats it from its start
        whole = total - total % (world * self.batch_size)
        head = order[:whole].reshape(-1, world, self.batch_size)[:, self.rank].reshape(-1)
        tail = order[whole:total].reshape(world, -1)[self.rank]
        return np.concatenate([head, tail]) if len(tail) else head

    def __iter__(self):
        indices = self.local_indices()
        for start in range(0, len(indices), 1 << 16):  # as a list they would take five times the memory
            yield from indices[start:start + (1 << 16)].tolist()

    def __len__(self):
        n, world = len(self.dataset), self.num_replicas
        return n // world if self.drop_last else -(-n // world)


class DistributedSampler(EpochSampler):
    """Every sample once an epoch, in random order or as they are.

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
        """From now on draw each class equally often.

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
            return np.arange(n)
        if self.labels is not None:
            return self._uniform_indices()
        if self.replace:
            return self.rng().integers(n, size=n)
        order = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)  # half the memory
        self.rng().shuffle(order)
        return order

    generate_new_list = global_indices  # its name in MMSelfSup

    def _uniform_indices(self):
        rng, n = self.rng(), len(self.dataset)
        by_class = np.argsort(self.labels, kind='stable')
        classes, starts = np.unique(self.labels[by_class], return_index=True)
        members = [m for c, m in zip(classes, np.split(by_class, starts[1:])) if c >= 0]
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
        number = None
        for it in range(self.last_iter + 1, self.total_iter):
            start = (it * world + self.rank) * size
            for at in range(start, start + size):
                if at // n != number:
                    self.epoch = number = at // n
                    order = self.global_indices()
                yield int(order[at % n])

    def set_epoch(self, epoch):
        """Nothing: the run has no epochs."""

    def __iter__(self):
        return self.gen_new_list()

    def __len__(self):
        return (self.total_iter - self.last_iter - 1) * self.batch_size
