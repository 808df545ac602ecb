# Copyright (c) mmssl contributors. All rights reserved.
"""Samplers that fill a batch from one group, such as images of one aspect ratio."""
import numpy as np

from mmssl.utils.errors import ConfigError
from mmssl.utils.indices import rows_by_value
from ..registry import SAMPLERS
from .distributed_sampler import EpochSampler


@SAMPLERS.register_module()
class DistributedGroupSampler(EpochSampler):
    """Random order in which all samples of a global batch come from one group.

    Each group is filled up with repeated samples to whole global batches.

    Args:
        dataset (Dataset): Its attribute `flag` is an integer array with the group of each sample.
        samples_per_gpu (int): Samples of one process in a batch.
        num_replicas, rank, seed: See EpochSampler.
    """

    def __init__(self, dataset, samples_per_gpu=1, num_replicas=None, rank=None, seed=0):
        super().__init__(dataset, num_replicas, rank, seed, samples_per_gpu)
        if len(getattr(dataset, 'flag', ())) != len(dataset):
            raise ConfigError(f'{type(dataset).__name__} needs an attribute "flag" with the group of each sample')
        self.flag = np.asarray(dataset.flag)
        self._step = self.num_replicas * samples_per_gpu
        self._num_batches = sum(-(-count // self._step) for count in np.unique(self.flag, return_counts=True)[1])

    def global_indices(self):
        rng, batches = self.rng(), []
        for members in rows_by_value(self.flag)[1]:
            members = rng.permutation(members)
            batches.append(np.resize(members, -(-len(members) // self._step) * self._step).reshape(-1, self._step))
        return rng.permutation(np.concatenate(batches)).reshape(-1)

    def __len__(self):
        return int(self._num_batches) * self.batch_size


class GroupSampler(DistributedGroupSampler):
    """DistributedGroupSampler of one process.

    Args: see DistributedGroupSampler.
    """

    def __init__(self, dataset, samples_per_gpu=1, seed=0):
        super().__init__(dataset, samples_per_gpu, num_replicas=1, rank=0, seed=seed)
