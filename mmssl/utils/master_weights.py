# Copyright (c) mmssl contributors. All rights reserved.
"""Parameters in half precision with a copy in float32 that the optimizer steps (amp.master_weights of a config)."""
import torch


def master_of(parameter):
    """The copy in float32 of a parameter in half precision; any other parameter itself."""
    return getattr(parameter, 'master', parameter)


@torch.no_grad()
def update_weights(*modules):
    """Bring changes of the copies in float32 to the weights in half precision.

    Args:
        modules (nn.Module): Networks, with or without such weights.
    """
    for module in modules:
        weights = [weight for weight in module.parameters() if hasattr(weight, 'master')]
        if weights:
            torch._foreach_copy_(weights, [weight.master for weight in weights])
