# Copyright (c) mmssl contributors. All rights reserved.
"""Lists of images in files of arrays, pickles and JSON, and in tables of text: names and labels."""
from collections.abc import Sequence

import numpy as np

from mmssl.utils.data_files import ARRAY_FILES, PICKLES, load_file
from mmssl.utils.errors import ConfigError, short
from .base import CompactStrings
from .csv_lists import LABELS, NAMES, is_table, read_table
from .labels import read_labels_and_names

ENDS = (*ARRAY_FILES, *PICKLES, '.json')


class ArrayStrings(Sequence):
    """Texts in an array, each made a str when it is asked for: those of a mapped file take no memory.

    Args:
        array (ndarray): N texts, of the dtype S (in UTF-8) or U; or N rows with such texts.
        part (str | int, optional): Name of the field, or number of the column, of such rows.
        prefix (str): What each text begins with, and what is taken away from it; see without_prefix.
    """

    def __init__(self, array, part=None, prefix=''):
        self.array, self.part, self.prefix = array, part, prefix

    def __len__(self):
        return len(self.array)

    def __getitem__(self, idx):
        text = self.array[idx]
        text = text if self.part is None else text[self.part]
        text = text.decode('utf-8', 'surrogateescape') if isinstance(text, bytes) else str(text)
        return without_prefix(text, self.prefix) if self.prefix else text

    take = CompactStrings.take


def without_prefix(name, prefix):
    """A file name relative to the folder `prefix`.

    Raises:
        ConfigError: It is not below it.
    """
    rest = name.removeprefix(prefix)
    if rest == name or not (prefix.endswith('/') or rest.startswith('/')):
        raise ConfigError(f'remove_prefix is {prefix!r}, but the name {name!r} is not below that folder')
    return rest.lstrip('/')


def is_array_list(path):
    """Whether a list is no text of a name a line, by the end of its name, and of a .csv by its first line."""
    return isinstance(path, str) and (path.lower().endswith(ENDS) or is_table(path))


def read_array_list(path, prefix=''):
    """The images that a file lists.

    Args:
        path (str): A .npy file: N names; N rows of a name and a label, as texts; or a structured array with a field of
            names and perhaps one of labels. A .npz, .pkl or .json file: names; pairs of a name and a label; names and
            labels, as a pair or as a dict of both; or a dict of labels by name. A .csv or .tsv: see read_table.
        prefix (str): See ArrayStrings.

    Returns:
        tuple: Names (ArrayStrings or CompactStrings); labels (ndarray | None), int32 or N x C int8; and the tuple of
            their names where labels are words.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It has another form.
    """
    if path.lower().endswith(ENDS):
        found = load_file(path, mmap_mode='r' if path.lower().endswith('.npy') else None)
    else:
        found = read_table(path)
    names, labels, part = _split(found, path)
    if len(names) == 0:
        raise ConfigError(f'{path} lists no image')
    if isinstance(names, np.ndarray) and (part is not None or names.dtype.kind in 'SU' and names.ndim == 1):
        names = ArrayStrings(names, part, prefix)
    else:
        names = CompactStrings(_checked(names, path, prefix))
    if labels is None:
        return names, None, None
    return names, *read_labels_and_names(labels, len(names), f'the labels in {path}')


def _checked(names, path, prefix):
    for i, name in enumerate(names):
        if isinstance(name, bytes):
            name = name.decode('utf-8', 'surrogateescape')
        if not isinstance(name, str) or not name:
            raise ConfigError(f'{path}: entry {i} is no file name: {short(name)}. {_FORMS}')
        yield without_prefix(name, prefix) if prefix else str(name)


_FORMS = ('A list holds file names; or pairs of a name and a label; or names and labels, as a pair or as a dict '
          '(paths, labels) of both; or labels by name')


def _split(found, path):
    """What a file holds -> names, labels or None, and the part of rows in which the names are."""
    if isinstance(found, np.ndarray):
        return _split_array(found, path)
    if isinstance(found, dict):
        return (*_split_dict(found, path), None)
    if not isinstance(found, (list, tuple)):
        raise ConfigError(f'{path} is no list but {short(found)}. {_FORMS}')
    if len(found) and all(isinstance(entry, (list, tuple, np.ndarray)) for entry in found):
        if len(found) == 2 and all(len(entry) == len(found[0])
                                   for entry in found) and (len(found[0]) != 2
                                                            or all(isinstance(name, (str, bytes))
                                                                   for name in found[0])):
            return found[0], found[1], None
        wrong = next((i for i, entry in enumerate(found) if len(entry) != 2), None)
        if wrong is not None:
            raise ConfigError(f'{path}: entry {wrong} is no pair of a name and a label: {short(found[wrong])}. '
                              f'{_FORMS}')
        return [name for name, _ in found], [label for _, label in found], None
    return found, None, None


def _split_array(found, path):
    if found.dtype.names:
        texts = [name for name in found.dtype.names if found.dtype[name].kind in 'SU']
        names = [name for name in found.dtype.names if name in NAMES] or texts
        labels = [name for name in found.dtype.names if name in LABELS
                  ] or [name for name in found.dtype.names if found.dtype[name].kind in 'iu']
        if len(names) != 1 or names[0] not in texts or len(labels) > 1:
            raise ConfigError(f'{path}: which field holds the names, and which the labels? There are '
                              f'{found.dtype.descr}; call them path and label')
        return found, np.ascontiguousarray(found[labels[0]]) if labels else None, names[0]
    if found.dtype.kind == 'O':
        return _split(found.tolist(), path)
    if found.dtype.kind not in 'SU' or found.ndim not in (1, 2) or found.ndim == 2 and found.shape[1] != 2:
        raise ConfigError(f'{path} holds {found.dtype} of the shape {found.shape}: an array of names has N texts, or N '
                          'rows of a name and a label, or is structured with the fields path and label')
    if found.ndim == 1:
        return found, None, None
    labels = np.ascontiguousarray(found[:, 1])
    try:
        labels = labels.astype(np.int64)  # numbers had to become texts beside the names
    except ValueError:
        pass
    return found, labels, 0


def _split_dict(found, path):
    names, labels = ([key for key in found if key in known] for known in (NAMES, LABELS))
    if len(names) == 1 and len(labels) <= 1 and not isinstance(found[names[0]], (str, int)):
        count = len(found[names[0]])
        other = next((key for key in found if key not in names and np.ndim(found[key]) and len(found[key]) == count),
                     None)
        if not labels and other is not None:
            raise ConfigError(f'{path} holds {other!r} beside {names[0]!r}, with as many entries: labels are called '
                              f'{" or ".join(LABELS)}; leave out what is none')
        return found[names[0]], found[labels[0]] if labels else None
    if found and all(isinstance(value, (int, str, np.integer)) or value is None for value in found.values()):
        return list(found), list(found.values())
    raise ConfigError(f'{path} holds a dict of {short(list(found))}, which are neither paths and labels nor labels by '
                      f'name. {_FORMS}')
