# Copyright (c) mmssl contributors. All rights reserved.
"""Which stages or layers of a backbone are returned, and which are frozen."""
from mmssl.utils.errors import ConfigError, nearest


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


def stage_numbers(indices, names, beyond=0):
    """The stages that a backbone is asked for, as numbers.

    Args:
        indices (Sequence[int | str]): Numbers from 0, negative ones from the last stage backwards, or names; in the
            order of the outputs, the same stage as often as is wished.
        names (Sequence[str]): Names of the stages, in the order of the network.
        beyond (int): How many numbers above those of the stages there are besides.

    Returns:
        tuple[int]: Numbers from 0, in the order asked for.

    Raises:
        ConfigError: It is no list of such numbers and names, or an empty one.
    """
    names = list(names)
    if isinstance(indices, (list, tuple)):
        for name in indices:
            if isinstance(name, str) and name not in names:
                raise ConfigError(f'out_indices: there is no stage {name!r}; {nearest(name, names, "stages")}')
        indices = [names.index(i) if isinstance(i, str) else i for i in indices]
    indices = check_stages(indices, -len(names), len(names) - 1 + beyond)
    return tuple(i % len(names) if i < len(names) else i for i in indices)


def check_frozen_stages(frozen, last):
    """See that `frozen_stages` is -1 (none) or a stage that there is.

    Raises:
        ConfigError: It is not.
    """
    if type(frozen) is not int or not -1 <= frozen <= last:
        raise ConfigError(f'frozen_stages must be -1 (none) to {last}, got {frozen!r}')
