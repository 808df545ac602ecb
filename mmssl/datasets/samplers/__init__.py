# Copyright (c) mmssl contributors. All rights reserved.
from .distributed_sampler import DistributedGivenIterationSampler, DistributedSampler, EpochSampler
from .group_sampler import DistributedGroupSampler, GroupSampler

__all__ = [
    'DistributedGivenIterationSampler', 'DistributedGroupSampler', 'DistributedSampler', 'EpochSampler', 'GroupSampler'
]
