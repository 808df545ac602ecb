# Copyright (c) mmssl contributors. All rights reserved.
"""Losses are computed in float32 under autocast: half-precision exp overflows, and its sums round."""
import functools

import torch


def _widen(value):
    if torch.is_tensor(value) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_widen, value))
    return value


def in_float32(func):
    """Decorator: half-precision tensors, in tuples and lists too, become float32, and autocast is off inside.

    The first argument of `func` is a tensor.
    """

    @functools.wraps(func)
    def wrapper(first, *args, **kwargs):
        kind = first.device.type
        # tensors that are only shapes have no autocast
        with torch.autocast('cpu' if kind == 'meta' else kind, enabled=False):
            return func(*map(_widen, (first, *args)), **{k: _widen(v) for k, v in kwargs.items()})

    return wrapper
