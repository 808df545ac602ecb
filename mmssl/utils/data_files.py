# Copyright (c) mmssl contributors. All rights reserved.
"""Lists, labels and tables in files, read and written by the end of their name; no file can run code."""
import io
import json
import logging
import os
import os.path as osp
import pickle

import numpy as np
import yaml

from .errors import ConfigError, nearest
from .mapped import map_array
from .misc import atomic_write, json_ready, write_json

ARRAY_FILES = ('.npy', '.npz')
PICKLES = ('.pkl', '.pickle')
DATA_FILES = (*ARRAY_FILES, *PICKLES, '.json', '.yaml', '.yml', '.txt')


def _kind(path):
    end = osp.splitext(path)[1].lower()
    if end not in DATA_FILES:
        raise ConfigError(f'{path}: no kind of file that is known here; {nearest(end, DATA_FILES, "there are")}')
    return end


def load_file(path, mmap_mode=None):
    """What a file holds.

    Args:
        path (str | Path): .npy; .npz (a dict of arrays); .pkl or .pickle of arrays, numbers, text and plain containers;
            .json; .yaml or .yml; .txt (a list of its lines, without blank ones).
        mmap_mode (str, optional): 'r' leaves the array of a .npy file where it is, and reads what is asked for. Where
            the file system cannot map files, or the array holds Python objects, it is read as a whole: the log says so.

    Returns:
        object: The content.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The name ends otherwise, the file is damaged, or a pickle holds other objects, which could run code
            while they are loaded.
    """
    path = osp.expanduser(os.fspath(path))
    end = _kind(path)
    if mmap_mode not in (None, 'r'):
        raise ConfigError(f"mmap_mode is 'r' (read-only) or None, got {mmap_mode!r}")
    if mmap_mode and end != '.npy':
        raise ConfigError(f'{path}: only a .npy file can be mapped, with mmap_mode={mmap_mode!r}')
    if not osp.isfile(path):
        raise FileNotFoundError(f'no such file: {osp.abspath(path)}')
    try:
        return map_or_read(path) if mmap_mode else _read(path, end)
    except (FileNotFoundError, PermissionError):
        raise
    # a pickle fails with whatever its damaged bytes ask for
    except Exception as error:
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise ConfigError(f'{path} cannot be read as {end}: {reason}') from error


def map_or_read(path):
    """The array of a .npy file, mapped where that is possible; see load_file, which tells what is wrong with a file."""
    try:
        return map_array(path)
    except (OSError, ValueError) as error:
        found = _read(path, '.npy')  # a damaged file is an error here
        logging.getLogger('mmssl').warning('%s cannot be mapped (%s): it is read as a whole, %.0f MB', path, error,
                                           osp.getsize(path) / 1e6)
        return found


def _read(path, end):
    if end == '.npy':
        with open(path, 'rb') as file:
            return _read_array(file)
    if end == '.npz':
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    if end in PICKLES:
        from .unpickle import ArrayUnpickler  # imports torch
        with open(path, 'rb') as file:
            return ArrayUnpickler(file, encoding='latin1').load()
    with open(path, encoding='utf-8-sig', errors='surrogateescape') as file:
        if end == '.txt':
            return [line for line in map(str.strip, file) if line]
        return json.load(file) if end == '.json' else yaml.safe_load(file)


def _read_array(file):
    """An array, also one of Python objects, which numpy pickles."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    from .unpickle import ArrayUnpickler
    return np.asarray(ArrayUnpickler(file, encoding='latin1').load(), object).reshape(shape)


def save_file(data, path):
    """Write a file that load_file reads, whole or not at all.

    Args:
        data (object): .npy: what numpy makes an array of, but for Python objects. .npz: a dict of such. .pkl: arrays,
            numbers, text and plain containers. .json and .yaml: plain values, and numbers and arrays of numpy, which
            become lists. .txt: a sequence of lines.
        path (str | Path): The end of its name says what is written.

    Raises:
        ConfigError: The data do not fit into such a file, or load_file would not take them back.
    """
    path = osp.expanduser(os.fspath(path))
    end = _kind(path)
    if end == '.json':
        return write_json(path, data)
    if end in ARRAY_FILES:
        given = data if end == '.npz' else {None: data}
        if not isinstance(given, dict) or not all(isinstance(name, str) for name in given if name is not None):
            raise ConfigError(f'{path}: a .npz file is written of a dict of arrays by name, got {type(data).__name__}')
        try:
            arrays = {name: np.asarray(values) for name, values in given.items()}
        except ValueError as error:  # of lists of different lengths
            raise ConfigError(f'{path}: this makes no array: {error}') from error
        for name, values in arrays.items():
            if values.dtype.hasobject:
                raise ConfigError(f'{path}: {name or "the data"} would be an array of Python objects, which is no data '
                                  'format: use .pkl or .json, or an array of one type')
    if end == '.txt':
        bad = next((line for line in data
                    if not isinstance(line, str) or line != line.strip() or not line or len(line.splitlines()) > 1),
                   None)
        if isinstance(data, str) or bad is not None:
            raise ConfigError(f'{path}: a .txt file is written of a list of texts, each one line without spaces around '
                              f'it, got {data if isinstance(data, str) else bad!r:.80}')
    content = None
    if end in PICKLES:
        content = _pickled(data, path)
    elif end in ('.yaml', '.yml'):
        content = yaml.safe_dump(json_ready(data)[0], sort_keys=False, allow_unicode=True)
    with atomic_write(path, 'w' if end in ('.yaml', '.yml', '.txt') else 'wb') as file:
        if end == '.npy':
            np.save(file, arrays[None], allow_pickle=False)
        elif end == '.npz':
            np.savez(file, **arrays)
        elif end == '.txt':
            file.writelines(f'{line}\n' for line in data)
        else:
            file.write(content)


def _pickled(data, path):
    from .unpickle import ArrayUnpickler
    try:
        content = pickle.dumps(data, protocol=4)
        ArrayUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # whatever an object of a user does when it is pickled
        raise ConfigError(f'{path}: the data cannot be written so that load_file takes them back: {error}') from error
    return content
