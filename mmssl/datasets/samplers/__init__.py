# Copyright (c) mmssl contributors. All rights reserved.
from .block_sampler import BlockShuffleSampler
from .distributed_sampler import DistributedGivenIterationSampler, DistributedSampler, EpochSampler
from .group_sampler import DistributedGroupSampler, GroupSampler

__all__ = [
    'BlockShuffleSampler', 'DistributedGivenIterationSampler', 'DistributedGroupSampler', 'DistributedSampler',
    'EpochSampler', 'GroupSampler'
]
