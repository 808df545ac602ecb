# Copyright (c) mmssl contributors. All rights reserved.
"""Rates of single layers by the norms of their weights and gradients, for LARS and LARC."""
from mmssl.utils.sharded import norms


def local_rates(params, weight_decay, trust, eps):
    """Local rates `trust * |w| / (|g| + weight_decay * |w| + eps)` of parameters w with gradients g.

    Args:
        params (list[Parameter]): Each with a gradient; plain ones, or parts of which each process holds.
        weight_decay (float): Weight decay.
        trust (float): Trust coefficient.
        eps (float): Keeps the denominator from zero.

    Returns:
        tuple[Tensor, Tensor]: The rates, and whether both norms of a parameter are above zero, without which its rate
            means nothing; vectors on the device.
    """
    weights, gradients = norms(params), norms([p.grad for p in params])
    return trust * weights / (gradients + weight_decay * weights + eps), (weights > 0) & (gradients > 0)
