# Copyright (c) mmssl contributors. All rights reserved.
"""Labels that lie in a file of their own, such as those of a clustering."""
import os
import os.path as osp

import numpy as np

from mmssl.utils.errors import ConfigError
from mmssl.utils.mapped import map_array

_BLOCK = 2**22  # labels that are looked at in one go, so that a mapped file is never in memory as a whole


def read_labels(labels, length, name='labels', mmap=False):
    """The labels of N samples, looked through.

    Args:
        labels (str | Path | Sequence[int] | ndarray): A .npy file with N integers in the order of the samples, or these
            themselves; -1 = unlabelled. Or N x C values of 1 (the class is there), 0 (it is not) and -1 (unknown).
        length (int): N.
        name (str): What messages call them.
        mmap (bool): Leave them in the file, in its integer type, and read only what is asked for.

    Returns:
        ndarray: N labels, int32, or N x C, int8; with `mmap` a read-only map of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It is no .npy file; the labels are no integers, are not N, or are not within -1..2^31 - 1.
    """
    place = name
    if isinstance(labels, (str, os.PathLike)):
        path = osp.expanduser(labels)
        place = f'{name} ({path})'
        if not osp.isfile(path):
            raise FileNotFoundError(f'{name}: no such file: {osp.abspath(path)}')
        try:
            labels = map_array(path)
        except (ValueError, EOFError) as error:
            raise ConfigError(
                f'{place} is no .npy file of numbers: {error}; np.save(path, labels) writes one') from error
    elif mmap:
        raise ConfigError(f'{name}: only the labels of a .npy file can be mapped, got {type(labels).__name__}')
    try:
        labels = np.asanyarray(labels)
    except ValueError as error:
        raise ConfigError(f'{place} must be {length} integers: {error}') from error
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in 'iu':
        kind = getattr(labels, 'dtype', type(labels).__name__)
        raise ConfigError(f'{place} must be integers, got {kind}: labels.astype("int32") makes them so')
    if labels.shape[:1] != (length, ) or labels.ndim > 2 or not labels.size:
        raise ConfigError(f'{place} must hold one label for each of the {length} samples, got the shape {labels.shape}')
    most, rule = 2**31, f'0 to {2**31 - 1}, or -1 for a sample without one'
    if labels.ndim == 2:
        most, rule = 2, '1, 0 or -1 where there is a column for each class'
    for start in range(0, length, _BLOCK):
        block = labels[start:start + _BLOCK]
        for at in (block.argmin(), block.argmax()):
            value = block.flat[at]
            if not -1 <= value < most:
                raise ConfigError(f'{place}: a label is {rule}; got {value} for sample '
                                  f'{start + at // (block.size // len(block))}')
    return labels if mmap else np.asarray(labels, np.int32 if labels.ndim == 1 else np.int8)
