# Copyright (c) mmssl contributors. All rights reserved.
"""Labels that lie in a file of their own, such as those of a clustering."""
import os
import os.path as osp
import pickle
import re

import numpy as np

from mmssl.utils.data_files import PICKLES, load_file, map_or_read
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.logger import get_root_logger

_BLOCK = 2**22  # labels that are looked at in one go, so that a mapped file is never in memory as a whole


def read_labels(labels, length, name='labels', mmap=False):
    """The labels of N samples, looked through.

    Args:
        labels (str | Path | Sequence[int | str | None] | ndarray): A .npy, .pkl or .json file with N integers in the
            order of the samples, a .txt of N lines, or these themselves; -1 = unlabelled. Or N x C values of 1 (the
            class is there), 0 (it is not) and -1 (unknown). Or N words, which are numbered in their order; None, or an
            empty one, = unlabelled.
        length (int): N.
        name (str): What messages call them.
        mmap (bool): Leave integers in the file, in their type, and read only what is asked for.

    Returns:
        ndarray: N labels, int32, or N x C, int8; with `mmap` a read-only map of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It cannot be read; the labels are neither integers nor words, are not N, or are not within
            -1..2^31 - 1.
    """
    return read_labels_and_names(labels, length, name, mmap)[0]


def read_labels_and_names(labels, length, name='labels', mmap=False):
    """As read_labels, and what words the labels were.

    Returns:
        tuple[ndarray, tuple[str] | None]: The labels, and, where they were words, the word of each number.
    """
    place = name
    if isinstance(labels, (str, os.PathLike)):
        path = osp.expanduser(labels)
        place = f'{name} ({path})'
        if not osp.isfile(path):
            raise FileNotFoundError(f'{name}: no such file: {osp.abspath(path)}')
        end = osp.splitext(path)[1].lower()
        if end in (*PICKLES, '.json', '.txt'):
            labels, mmap_is_possible = load_file(path), False
            labels = labels_of(labels) if end == '.txt' else labels
        else:
            try:
                labels, mmap_is_possible = map_or_read(path), True
            except (ValueError, EOFError, pickle.UnpicklingError) as error:
                raise ConfigError(
                    f'{place} is no .npy file of numbers: {error}; np.save(path, labels) writes one') from error
        if mmap and not mmap_is_possible:
            raise ConfigError(f'{place}: only the labels of a .npy file can be mapped')
    elif mmap:
        raise ConfigError(f'{name}: only the labels of a .npy file can be mapped, got {type(labels).__name__}')
    try:
        # numpy would write numbers among words as words
        words = isinstance(labels, (list, tuple)) and any(isinstance(label, (str, bytes)) for label in labels)
        labels = np.asanyarray(labels, object if words else None)
    except ValueError as error:
        raise ConfigError(f'{place} must be {length} integers: {error}') from error
    if labels.dtype.kind in 'OSU' and labels.ndim == 1 and len(labels) == length:
        return _number_words(labels, place, mmap)
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
    return labels if mmap else np.asarray(labels, np.int32 if labels.ndim == 1 else np.int8), None


def _number_words(labels, place, mmap):
    """Numbers of words in their order, and the words."""
    if mmap:
        raise ConfigError(f'{place}: labels that are words are numbered in memory: leave mmap_labels out')
    if labels.dtype.kind == 'O':
        for i, label in enumerate(labels):
            if label is not None and not isinstance(label, (str, bytes)):
                if all(
                        value is None or isinstance(value, (int, np.integer)) and not isinstance(value, bool)
                        for value in labels):
                    numbers = np.array([-1 if value is None else value for value in labels])
                    return read_labels_and_names(numbers, len(labels), place)
                raise ConfigError(f'{place} must be integers or words, all of one kind, got {label!r:.80} for sample '
                                  f'{i}')
        labels = np.array(['' if label is None else label for label in labels])
    if labels.dtype.kind == 'S':
        labels = np.char.decode(labels, 'utf-8', 'surrogateescape')
    words, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(-1).astype(np.int32)
    if len(words) and words[0] == '':
        words, numbers = words[1:], numbers - 1
    if not len(words):
        raise ConfigError(f'{place}: none of the {len(labels)} samples has a label')
    words = tuple(map(str, words))
    shown = ', '.join(f'{i} {word}' for i, word in enumerate(words[:10])) + (', ...' if len(words) > 10 else '')
    get_root_logger().info('%s: %d words count as labels in their order: %s', place, len(words), shown)
    return numbers, words


def labels_of(texts):
    """Labels that stand in a text: integers where all of them are, else words; None where there is nothing."""
    kind = int if all(re.fullmatch(r'[+-]?\d+', text) for text in texts if text) else str
    return [kind(text) if text else None for text in texts]


def take_columns(targets, names, wanted=None):
    """The columns of some classes.

    Args:
        targets (ndarray): N x C, of several labels an image.
        names (Sequence[str]): Of the C classes.
        wanted (Sequence[str], optional): The classes to take, in this order; None: all.

    Returns:
        tuple[ndarray, tuple[str]]: Their columns and their names.

    Raises:
        ConfigError: There is no such class.
    """
    if wanted is None:
        return targets, tuple(names)
    for name in wanted:
        if name not in names:
            raise ConfigError(f'classes names {name!r}, which is no class; {nearest(name, names, "classes")}')
    return np.ascontiguousarray(targets[:, [list(names).index(name) for name in wanted]]), tuple(wanted)
