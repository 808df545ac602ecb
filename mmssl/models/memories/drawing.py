# Copyright (c) mmssl contributors. All rights reserved.
"""Random numbers that depend on what they are drawn for, and on nothing else."""
import torch

# constants of SplitMix64 (Steele, Lea and Flood, 2014) as signed numbers; products of int64 wrap around
GOLDEN = 0x9E3779B97F4A7C15 - 2**64
FACTORS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


def _shifted(x, bits):
    """Shift right without copies of the sign."""
    return (x >> bits).bitwise_and_(2**(64 - bits) - 1)


def _mix(x):
    """The output function of SplitMix64: each bit of the input changes half of those of the output. In place."""
    for bits, factor in FACTORS:
        x.bitwise_xor_(_shifted(x, bits)).mul_(factor)
    return x.bitwise_xor_(_shifted(x, 31))


@torch.no_grad()
def keyed_integers(count, ind, num, high):
    """Integers from 0 to high - 1 for each sample, as evenly distributed as random ones.

    They depend on `count` and on the sample's number alone: not on the device, nor on which other samples are in the
    batch. So several processes draw for their samples what one process would draw for all of them.

    Args:
        count (Tensor): How often numbers were drawn before, 0-dim integer.
        ind (Tensor): The samples, B integers.
        num (int): Numbers for each.
        high (int): See above; at most 2**31.

    Returns:
        Tensor: B x num integers.
    """
    start = _mix(_mix((count + 1) * GOLDEN) + ind)  # a stream for each sample, B
    numbers = _mix(start[:, None] + torch.arange(1, num + 1, device=ind.device) * GOLDEN)
    bits = 63 - high.bit_length()  # as many as leave the product below 2**63
    return _shifted(numbers, 64 - bits).mul_(high).bitwise_right_shift_(bits)
