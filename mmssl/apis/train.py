# Copyright (c) mmssl contributors. All rights reserved.
"""From a config to a training that runs; mmssl.core.training does it."""
from mmssl.core.training import init_random_seed, set_random_seed, train_model

__all__ = ['init_random_seed', 'set_random_seed', 'train_model']
