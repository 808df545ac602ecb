# Copyright (c) mmssl contributors. All rights reserved.
"""Sets of permutations that lie far apart, the classes of a jigsaw puzzle."""
from itertools import chain, permutations
from math import factorial

import numpy as np

from mmssl.utils.errors import ConfigError

RULES = ('max-avg', 'max-min')
_ENUMERATED = 9  # of more patches there are too many orders to look at each
_CANDIDATES = 400000


def _candidates(patches, random):
    """Permutations to choose from in a random order, N x patches: all of up to 9 patches, of more a random sample."""
    if patches <= _ENUMERATED:
        every = np.fromiter(chain.from_iterable(permutations(range(patches))), np.uint8).reshape(-1, patches)
        return every[random.permutation(len(every))]
    return random.rand(_CANDIDATES, patches).argsort(1).astype(np.uint8)


def choose_permutations(number, patches=9, rule='max-avg', seed=0):
    """Choose permutations whose Hamming distances are large, greedily as in https://arxiv.org/abs/1603.09246.

    The first one is random. Each further one is, among all that are left, the one with the largest mean ('max-avg') or
    the largest minimum ('max-min') of its distances to those chosen so far. A tie is decided by the other of the two,
    and what is left of it at random. Hence what the set promises:

    - 'max-avg': each patch comes to each place equally often, up to one time, so that no set of this size has a
      larger mean distance (checked up to 10,000 of 9 patches);
    - both: up to `patches` permutations differ from each other in every place, and a smaller `number` gives the
      beginning of a larger one.

    The result depends on the arguments alone, whatever the machine. Of more than 9 patches it is chosen from 400,000
    random permutations.

    Args:
        number (int): Number of permutations.
        patches (int): Number of patches.
        rule (str): 'max-avg' or 'max-min'.
        seed (int): Of the random choices.

    Returns:
        ndarray: number x patches, uint8: row k has at each place the patch that lies there in permutation k.

    Raises:
        ConfigError: An unknown rule or a seed that cannot be, or there are not so many permutations.
    """
    if rule not in RULES:
        raise ConfigError(f'rule must be one of {RULES}, got {rule!r}')
    if not 2 <= patches <= 64:
        raise ConfigError(f'patches must be 2 to 64, got {patches!r}')
    most = factorial(patches) if patches <= _ENUMERATED else _CANDIDATES
    if not 1 <= number <= most:
        raise ConfigError(f'number must be 1 to {most}, which is what {patches} patches give; got {number!r}')
    if not 0 <= seed < 2**32:
        raise ConfigError(f'seed must be 0 to {2**32 - 1}, got {seed!r}')
    random = np.random.RandomState(seed)  # its streams are frozen: the same set with every version of numpy
    left = np.ascontiguousarray(_candidates(patches, random).T)  # patches x N, so that a place is one run of memory
    size = left.shape[1]
    # scores stay below 64 * 64 * 400,000, which int32 holds
    total, smallest = np.zeros(size, np.int32), np.full(size, patches, np.uint8)
    chosen, out = np.empty((number, patches), np.uint8), np.zeros(size, bool)
    weight_total, weight_smallest = (patches + 1, 1) if rule == 'max-avg' else (1, patches * number)
    equal, distance = np.empty(size, bool), np.empty(size, np.uint8)
    pick = 0
    for k in range(number):
        chosen[k], out[pick] = left[:, pick], True
        distance.fill(patches)
        for place, patch in zip(left, chosen[k]):
            np.equal(place, patch, out=equal)
            distance -= equal
        total += distance
        np.minimum(smallest, distance, out=smallest)
        score = total * weight_total
        score += smallest.astype(np.int32) * weight_smallest if weight_smallest > 1 else smallest
        score[out] = -1
        pick = int(score.argmax())
    return chosen


def hamming_distances(permutation_set):
    """Distances within a set: the number of places in which two permutations differ.

    Args:
        permutation_set (ndarray): K x patches integers, two rows or more.

    Returns:
        dict: `minimum` (int), `mean` (float) and `counts` (ndarray, patches + 1 integers): how many pairs have each
            distance.
    """
    rows = np.asarray(permutation_set)
    counts = np.zeros(rows.shape[1] + 1, np.int64)
    for k in range(1, len(rows)):
        counts += np.bincount((rows[:k] != rows[k]).sum(1), minlength=len(counts))
    return dict(
        minimum=int(counts.nonzero()[0][0]), mean=float(counts @ np.arange(len(counts)) / counts.sum()), counts=counts)


def load_permutations(file):
    """Read a set of permutations that a file holds, whether its patches count from 0 or from 1.

    Args:
        file (str): A .npy, K x patches integers.

    Returns:
        ndarray: K x patches, uint8, patches from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It holds something else, or a permutation twice.
    """
    try:
        rows = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f'{file} is no .npy file of numbers: {error}') from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind not in 'iu' or not rows.size:
        found = f'{rows.dtype} of shape {rows.shape}' if isinstance(rows, np.ndarray) else 'several arrays (.npz)'
        raise ConfigError(f'{file}: a set of permutations is an array of integers, permutations x patches; got {found}')
    patches = rows.shape[1]
    if not 2 <= patches <= 64:
        raise ConfigError(f'{file}: permutations are of 2 to 64 patches, got the shape {rows.shape}')
    rows = rows - rows.min()  # published sets count from 1
    wrong = (np.sort(rows, 1) != np.arange(patches)).any(1)
    if wrong.any():
        raise ConfigError(f'{file}: row {wrong.argmax()} is no permutation of {patches} patches: '
                          f'{rows[wrong.argmax()].tolist()}')
    if len(np.unique(rows, axis=0)) < len(rows):
        raise ConfigError(f'{file}: it holds a permutation twice, so that its class has two numbers')
    return rows.astype(np.uint8)
