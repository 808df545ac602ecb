# Copyright (c) mmssl contributors. All rights reserved.
"""Layers whose insides are computed again in the backward pass instead of being kept."""
import contextlib

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextlib.contextmanager
def _statistics_aside(module):
    """Context in which batch norms write running statistics that are thrown away."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    kept = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        for name, buffer in norm._buffers.items():
            norm._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept):
            norm._buffers.update(buffers)


def recompute(module, function, *args, **kwargs):
    """Call a function that runs layers; in the backward pass it is called again for what that needs.

    Random numbers are the same in the second pass, and batch norms count the batch once. Without gradient it is a plain
    call.

    Args:
        module (nn.Module): Has all layers that the function runs.
        function (callable): Such as the forward method of `module`.
        args, kwargs: Its arguments.

    Returns:
        What it returns.
    """
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    if torch.compiler.is_compiling():  # compiled code updates buffers once, at its end
        return checkpoint(function, *args, use_reentrant=False, **kwargs)
    contexts = contextlib.nullcontext(), _statistics_aside(module)
    return checkpoint(function, *args, use_reentrant=False, context_fn=lambda: contexts, **kwargs)
