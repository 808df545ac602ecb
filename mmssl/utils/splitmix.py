# Copyright (c) mmssl contributors. All rights reserved.
"""SplitMix64 (Steele, Lea and Flood, 2014): a 64-bit number from a 64-bit number, one to one, without an order."""
# constants as signed numbers; products of int64 wrap around
GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


def shifted(x, bits):
    """Shift int64 tensors right without copies of the sign."""
    return (x >> bits).bitwise_and_(2**(64 - bits) - 1)


def mix(x):
    """The output function: each bit of the input changes half of those of the output. In place.

    Args:
        x (Tensor): int64.

    Returns:
        Tensor: The same tensor.
    """
    for bits, factor in _FACTORS:
        x.bitwise_xor_(shifted(x, bits)).mul_(factor)
    return x.bitwise_xor_(shifted(x, 31))
