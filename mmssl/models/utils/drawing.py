# Copyright (c) mmssl contributors. All rights reserved.
"""Random numbers that depend on what they are drawn for, and on nothing else."""
import torch

from mmssl.utils.splitmix import GOLDEN, mix, shifted


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
    start = mix(mix((count + 1) * GOLDEN) + ind)  # a stream for each sample, B
    numbers = mix(start[:, None] + torch.arange(1, num + 1, device=ind.device) * GOLDEN)
    bits = 63 - high.bit_length()  # as many as leave the product below 2**63
    return shifted(numbers, 64 - bits).mul_(high).bitwise_right_shift_(bits)
