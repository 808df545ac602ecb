# Copyright (c) mmssl contributors. All rights reserved.
"""Labels that lie in a file of their own, such as those of a clustering."""
import os.path as osp

import numpy as np

from mmssl.utils.errors import ConfigError

_BLOCK = 2**22  # labels that are looked at in one go, so that a mapped file is never in memory as a whole


def read_labels(labels, length, name='labels', mmap=False):
    """The labels of N samples, looked through.

    Args:
        labels (str | Path | Sequence[int] | ndarray): A .npy file with N integers in the order of the samples, or these
            themselves; -1 = unlabelled.
        length (int): N.
        name (str): What messages call them.
        mmap (bool): Leave them in the file, in its integer type, and read only what is asked for.

    Returns:
        ndarray: N labels, int32; with `mmap` a read-only map of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It is no .npy file; the labels are no integers, are not N, or are not within -1..2^31 - 1.
    """
    place = name
    if isinstance(labels, (str, osp.os.PathLike)):
        path = osp.expanduser(labels)
        place = f'{name} ({path})'
        if not osp.isfile(path):
            raise FileNotFoundError(f'{name}: no such file: {osp.abspath(path)}')
        try:
            labels = np.load(path, mmap_mode='r', allow_pickle=False)
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
    if labels.shape != (length, ):
        raise ConfigError(f'{place} must hold one label for each of the {length} samples, got the shape {labels.shape}')
    for start in range(0, length, _BLOCK):
        block = labels[start:start + _BLOCK]
        for at in (block.argmin(), block.argmax()):
            if not -1 <= block[at] < 2**31:
                raise ConfigError(f'{place}: a label is 0 to {2**31 - 1}, or -1 for a sample without one; got '
                                  f'{block[at]} for sample {start + at}')
    return labels if mmap else np.asarray(labels, np.int32)
