# Copyright (c) mmssl contributors. All rights reserved.
"""A random order that is computed where it is looked at, in place of a list of it."""
import numpy as np
import torch

from .splitmix import GOLDEN, mix

_ROUNDS = 8


class KeyedPermutation:
    """The numbers 0..n-1 in a random order, of which any place can be asked for at once; nothing of size n is kept.

    A Feistel network (Luby and Rackoff, SIAM J. Comput. 17(2), 1988) turns numbers of b bits into others, one to one,
    for the smallest b >= 2 that holds n numbers. It splits a number into two parts and changes one by a keyed function
    of the other, in turns; the function here is the output of SplitMix64. What comes out at n or above goes in again,
    until it is below n ("cycle walking", Black and Rogaway, CT-RSA 2002): less than twice on average.

    Only orders of many samples are as good as shuffled ones: for n < 64 not every order is met equally often.

    Args:
        n (int): Length, 1 to 2^62.
        key (Sequence[int]): Numbers of 0 or more, such as seed and epoch; each key has its own order.
    """

    def __init__(self, n, key):
        if not 1 <= n <= 2**62:
            raise ValueError(f'a permutation has 1 to 2^62 entries, got {n}')
        self.n = n
        low = max(2, (n - 1).bit_length()) // 2
        self._bits = low, max(2, (n - 1).bit_length()) - low
        state = np.random.SeedSequence(tuple(key)).generate_state(_ROUNDS, np.uint64)
        self._keys = state.view(np.int64).tolist()

    def __len__(self):
        return self.n

    def __getitem__(self, places):
        """What stands at some places.

        Args:
            places (ndarray): Integers within 0..n-1.

        Returns:
            ndarray: int64, as many.
        """
        found = self._cross(torch.from_numpy(np.ascontiguousarray(places, np.int64)))
        beyond = torch.nonzero(found >= self.n).flatten()
        while len(beyond):
            again = self._cross(found[beyond])
            found[beyond] = again
            beyond = beyond[again >= self.n]
        return found.numpy()

    def _cross(self, x):
        low, high = self._bits
        right, left = x & (2**low - 1), x >> low  # of `low` and of `high` bits
        for key in self._keys:
            # the round changes the left part; then the parts, and with them their sizes, change places
            left ^= mix(right.mul(GOLDEN).add_(key)).bitwise_and_(2**high - 1)
            left, right, low, high = right, left, high, low
        return left.mul_(2**low).bitwise_or_(right)


def keyed_below(n, key, places):
    """Independent random numbers below n, each computed from its place.

    Args:
        n (int): At most 2^31, or 2^62 with a bias below n / 2^63.
        key (Sequence[int]): Numbers of 0 or more, such as seed and epoch.
        places (ndarray): Integers, of which each has its number.

    Returns:
        ndarray: int64, within 0..n-1.
    """
    first, second = np.random.SeedSequence(tuple(key)).generate_state(2, np.uint64).view(np.int64).tolist()
    x = torch.from_numpy(np.ascontiguousarray(places, np.int64)).mul(GOLDEN).add_(first)
    return mix(mix(x).add_(second)).bitwise_and_(2**63 - 1).remainder_(n).numpy()
