# Copyright (c) mmssl contributors. All rights reserved.
"""What fits what is there: data, device and time -> a config, each value with its reason."""
from importlib import import_module

# name -> module; torch is imported when one of them is asked for
_PLACES = dict(
    Choice='.recipe', Recipe='.recipe', fit='.fitting', parse_time='mmssl.utils.times', format_time='mmssl.utils.times')
__all__ = sorted(_PLACES)


def __getattr__(name):
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_PLACES[name], __name__), name)
