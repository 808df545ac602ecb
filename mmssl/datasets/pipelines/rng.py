# Copyright (c) mmssl contributors. All rights reserved.
"""Random numbers keyed by (seed, epoch, sample, view): the same views whoever makes them, and in whatever order."""
import os
import random
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import get_worker_info

_MASK = 2**64 - 1

# One generator a process. Writing the state of a Philox takes a microsecond, making one takes eight. Philox is a
# function of key and counter: (seed, epoch) is the key, (idx, view) the upper half of the counter, and every
# combination is a stream of its own.
_philox = np.random.Philox()
_generator = np.random.Generator(_philox)
_state = dict(
    bit_generator='Philox',
    state=dict(counter=np.zeros(4, np.uint64), key=np.zeros(2, np.uint64)),
    buffer=np.zeros(4, np.uint64),
    buffer_pos=4,
    has_uint32=0,
    uinteger=0)
_counter, _key = _state['state']['counter'], _state['state']['key']
_keyed = False

_STEPS = 2**32  # above the numbers of views: streams of the steps that take a whole sample
_BATCHES = 2**33  # the stream of a batch, at the place of the sample of its number
_begun = [0, 0]  # streams that next_view has begun in the sample under way: of images, of steps


def rng():
    """The generator that steps draw from.

    Returns:
        np.random.Generator: Keyed by the sample and view under way; seeded by the system outside of one.
    """
    return _generator


def seed_sample(seed, epoch, idx):
    """Begin a sample, at its view 0.

    Args:
        seed (int): The run's seed, the same in all its processes.
        epoch (int): The epoch.
        idx (int): Index of the sample in the data set.
    """
    global _keyed
    _keyed = True
    _key[0] = seed & _MASK
    _key[1] = epoch & _MASK
    _counter[2] = idx & _MASK
    seed_view(0)


def is_keyed():
    """Whether a sample is under way, so that seed_view begins the same numbers again."""
    return _keyed


def seed_batch(seed, epoch, number):
    """Begin a batch, for what its samples share.

    Args:
        seed (int): The run's seed, the same in all its processes.
        epoch (int): The epoch.
        number (int): Number of the batch in the epoch; the same on all processes, which then draw the same.
    """
    seed_sample(seed, epoch, number)
    seed_view(_BATCHES)


def seed_view(view):
    """Begin another view of the sample under way; does nothing where no sample was begun.

    Args:
        view (int): Number of the view in the sample.
    """
    if _keyed:
        _counter[3] = view
        _philox.state = _state


def first_view():
    """Begin a sample at its first view: from here on next_view counts."""
    _begun[:] = 0, 0
    seed_view(0)


def next_view(of_sample=False):
    """Begin the next stream of the sample under way, where their number is known to nobody beforehand.

    Args:
        of_sample (bool): A stream of a step that takes the whole sample, and not one of an image.
    """
    seed_view(_STEPS * of_sample + _begun[of_sample])
    _begun[of_sample] += 1


def reseed():
    """Leave the sample under way: from here on numbers are seeded by the system."""
    global _keyed
    _keyed = False
    _philox.state = np.random.Philox().state


@contextmanager
def global_generators():
    """Within it, the global generators of random, numpy and torch (on the CPU) are keyed like rng() is.

    In the main process their states are put back at the end: what a step draws must not depend on the number of
    workers, and neither must the model's dropout. Outside a sample the generators are left alone.
    """
    if not _keyed:
        yield
        return
    # worker processes do nothing else with these generators, and restoring them takes longer than seeding
    restore = get_worker_info() is None
    if restore:
        states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    seed = int(_generator.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
    try:
        yield
    finally:
        if restore:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.default_generator.set_state(states[2])


# forked workers of a loader that seeds no samples must not draw the same numbers
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=reseed)
