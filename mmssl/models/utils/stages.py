# Copyright (c) mmssl contributors. All rights reserved.
"""Which stages or layers of a backbone are returned, and which are frozen."""
from mmssl.utils.errors import ConfigError


def check_stages(indices, low, high, name='out_indices', note=''):
    """See that a backbone has the stages that it is asked for.

    Args:
        indices (Sequence[int]): What was asked for, in the order of the outputs; the same stage may come twice.
        low, high (int): The first and the last stage that there is.
        name (str): The argument.
        note (str): What the error says about the numbers, such as ' (0 is the stem)'.

    Returns:
        list[int]: The same.

    Raises:
        ConfigError: It is no list or tuple of such numbers, or an empty one.
    """
    listed = isinstance(indices, (list, tuple))
    if not listed or not indices or not all(type(i) is int and low <= i <= high for i in indices):
        form = '' if listed and indices else f' in a list such as [{high}]'
        raise ConfigError(f'{name} must be numbers from {low} to {high}{note}{form}, got {indices!r}')
    return list(indices)


def check_frozen_stages(frozen, last):
    """See that `frozen_stages` is -1 (none) or a stage that there is.

    Raises:
        ConfigError: It is not.
    """
    if type(frozen) is not int or not -1 <= frozen <= last:
        raise ConfigError(f'frozen_stages must be -1 (none) to {last}, got {frozen!r}')
