# Copyright (c) mmssl contributors. All rights reserved.
"""What a word for data stands for: a folder, a list, shards, a table, a data set of the catalog."""
import os
import os.path as osp
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmssl.datasets.catalog import CATALOG
from mmssl.datasets.data_sources.base import IMG_EXTENSIONS, read_lines, split_label
from mmssl.datasets.data_sources.folder import asked, find_images, readable_extensions, sorted_entries
from mmssl.datasets.data_sources.lists import is_array_list, read_array_list
from mmssl.datasets.data_sources.stored import decode_stored
from mmssl.datasets.data_sources.zip_folder import find_archive
from mmssl.utils.errors import AbsentFileError, BrokenImageError, ConfigError, nearest, short
from mmssl.utils.remote_files import is_remote
from mmssl.utils.shard_index import FOLDER as SHARD_INDEX

_SPLITS = dict(train=('train', 'training', 'trainval'), val=('val', 'valid', 'validation', 'test', 'testing'))
_DEEP_FILES = ('.npy', '.npz')  # arrays, whose values are kept
_MAYBE_DEEP = ('.tif', '.tiff', '.png')
_TABLES = {'.parquet': 'Parquet', '.arrow': 'Arrow'}
_LISTS = ('.txt', '.csv', '.tsv', '.lst')


@dataclass
class Data:
    """Images to train on.

    Attributes:
        name (str): A short name of them, for folders of runs.
        source (dict): Config of their data source.
        val (dict | None): Config of the source of other images of the same kind, to evaluate on.
        words (str): What they are, in words.
    """
    name: str
    source: dict
    val: dict
    words: str


def find_data(data, labels=None):
    """The data source that a word stands for.

    Args:
        data (str | Path | dict): A folder (of class folders, of `train` and `val`, of shards, of tables, or any tree of
            images), a zip archive, a list of images, an array of them (.npy), a Parquet or Arrow file, the address of
            shards on a server, 'NAME' or 'NAME:SPLIT' of the catalog, or the config of a data source.
        labels (str | Path | Sequence | ndarray, optional): Labels in the order of the images, see BaseDataSource; or a
            file of them, or of a table the name of its column. 'none': labels that are there are not looked at.

    Returns:
        Data: The data.

    Raises:
        FileNotFoundError: It is a path, and there is nothing.
        ConfigError: It is none of these.
    """
    if isinstance(data, dict):
        if not isinstance(data.get('type'), str):
            raise ConfigError(
                f"a data source is a dict with its type, such as dict(type='Folder', data_prefix='photos'); "
                f'got {data!r}')
        found = Data(data['type'].lower(), dict(data), None, f'a data source {data["type"]}')
    else:
        found = _of_text(os.fspath(data) if isinstance(data, os.PathLike) else data)
    if labels is not None and not (isinstance(labels, str) and labels == 'none'):
        _add_labels(found, labels)
    return found


def _of_text(text):
    if not isinstance(text, str) or not text:
        raise ConfigError(f'data are a folder, a list, shards, a name of the catalog, or the config of a data source; '
                          f'got {short(text)}')
    if is_remote(text):
        return Data(_short_name(text), dict(type='Shards', data_prefix=text), None, 'shards on a server')
    path = osp.expanduser(text)
    if osp.isdir(path) or find_archive(path)[0] is not None:
        return _of_folder(path)
    if osp.isfile(path):
        return _of_file(path)
    name, _, split = text.partition(':')
    if '/' not in text and os.sep not in text:
        catalog = CATALOG.names()
        if name in catalog:
            return _of_catalog(name, split)
        raise ConfigError(f'{text!r} is no file or folder here, and no data set of the catalog; '
                          f'{nearest(name, catalog, "the catalog has")}')
    raise AbsentFileError(f'no such file or folder: {osp.abspath(path)}')


def _of_catalog(name, split):
    splits = CATALOG.get(name)
    if split and split not in splits:
        raise ConfigError(f'{name} has no split {split!r} in the catalog; {nearest(split, splits, "it has")}')
    split = split or next(s for s in (*_SPLITS['train'], *splits) if s in splits)
    others = [s for s in _SPLITS['val'] if s in splits and s != split]
    source = dict(type='Catalog', name=name, split=split)
    val = dict(source, split=others[0]) if others else None
    return Data(name, source, val, f'{split} of {name} in the catalog')


def _of_folder(path):
    """A folder, or a zip archive or a folder in one."""
    entries = {entry.name: entry for entry in sorted_entries(path)}
    folders = [name for name, entry in entries.items() if asked(entry.is_dir)]
    if osp.isfile(osp.join(path, SHARD_INDEX, 'index.json')):
        return Data(_short_name(path), dict(type='Shards', data_prefix=path), None, 'tar shards with an index')
    if any(name.endswith('.tar') for name in entries):
        raise ConfigError(f'{osp.abspath(path)} holds .tar shards without an index: '
                          f'tools/data_converters/index_shards.py {path} makes one')
    parts = {part: next((name for name in names if name in folders), None) for part, names in _SPLITS.items()}
    if parts['train']:
        found = _of_folder(osp.join(path, parts['train']))
        if parts['val']:
            val = _of_folder(osp.join(path, parts['val']))
            found.val, found.words = val.source, f'{found.words}, and {parts["val"]} beside it to evaluate on'
        found.name = _short_name(path)
        return found
    for extension, kind in _TABLES.items():
        if any(name.endswith(extension) for name in entries) or _holds(path, folders, (extension, )):
            return Data(_short_name(path), dict(type=kind, data_prefix=path), None, f'{kind} files')
    return _of_images(path, folders)


def _holds(path, folders, extensions):
    """Whether one of some folders holds a file of a kind."""
    return any(next(find_images(path, folder, True, extensions), None) for folder in folders)


def _of_images(path, folders):
    extensions = readable_extensions()
    first = next(find_images(path, '', True, extensions), None)
    arguments = {}
    if first is None:
        first = next(find_images(path, '', True, _DEEP_FILES), None)
        if first is None:
            looked = ', '.join((*IMG_EXTENSIONS, *_DEEP_FILES))
            raise AbsentFileError(f'no images in {osp.abspath(path)} or the folders in it; looked for files that end '
                                  f'with {looked}, for tar shards with an index, and for Parquet and Arrow files')
        extensions = (osp.splitext(first)[1].lower(), )
        arguments = dict(extensions=list(extensions), depth='stored')
    elif first.lower().endswith(_MAYBE_DEEP) and _is_deep(path, first):
        arguments = dict(depth='stored')
    beside = next(find_images(path, '', False, extensions), None)
    by_class = beside is None and sum(1 for f in folders if next(find_images(path, f, True, extensions), None)) > 1
    source = dict(type='ImageNet' if by_class else 'Folder', data_prefix=path, **arguments)
    words = 'a folder for each class' if by_class else 'a folder of images'
    return Data(_short_name(path), source, None, words)


def _is_deep(path, name):
    """Whether an image has other than 8 bits, or other than 1, 3 or 4 channels."""
    archive, inner = find_archive(osp.join(path, name))
    try:
        img = decode_stored(archive.read(inner) if archive else Path(path, name).read_bytes(), name)
    except (BrokenImageError, OSError):
        return False  # the survey will tell
    return img.dtype != np.uint8 or img.shape[2] not in (1, 3, 4)


def _of_file(path):
    name, end = _short_name(path), osp.splitext(path)[1].lower()
    if end in _TABLES:
        return Data(name, dict(type=_TABLES[end], data_prefix=path), None, f'a file of {_TABLES[end]}')
    if end == '.tar':
        raise ConfigError(f'{path} is one shard: give its folder, which tools/data_converters/index_shards.py has '
                          'indexed')
    if end in IMG_EXTENSIONS:
        raise ConfigError(f'{path} is one image: give the folder that holds the images')
    if end not in _LISTS and not is_array_list(path):
        raise ConfigError(f'{path} is no list of images ({", ".join((*_LISTS, ".npy", ".npz", ".pkl", ".json"))}), no '
                          'Parquet or Arrow file, no zip archive and no folder')
    if end == '.npy' and _is_array_of_images(path):
        return Data(name, dict(type='Arrays', data_prefix=path), None, 'an array of images')
    first = read_array_list(path)[0][0] if is_array_list(path) else next(
        (split_label(line, f'{path}, line {number}')[0] for number, line in read_lines(path)), None)
    if first is None:
        raise ConfigError(f'{path} lists no image')
    prefix = _folder_of_list(path, first)
    return Data(name, dict(type='ImageList', data_prefix=prefix, ann_file=path), None, 'a list of images')


def _is_array_of_images(path):
    """Whether a .npy file holds numbers, N x H x W or N x H x W x C; names are the other thing it may hold."""
    try:
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, EOFError):
        return False  # the reader of lists says what is wrong
    shape = array.shape
    if array.ndim == 4 and shape[1] in (1, 3) and shape[3] > 4:
        raise ConfigError(f'{path} has the shape {shape}, which looks like N x C x H x W: images are N x H x W x C, as '
                          'images.transpose(0, 2, 3, 1) makes them')
    return array.dtype.kind in 'uif' and array.ndim in (3, 4)


def _folder_of_list(path, first):
    """The folder that the names of a list are relative to."""
    folder = osp.dirname(path) or '.'
    for prefix in (None, folder, osp.dirname(folder) or '.'):
        if osp.exists(first if prefix is None else osp.join(prefix, first)):
            return prefix
    raise AbsentFileError(
        f'{path} names {first!r}, which is neither in the current folder, nor beside the list, nor in '
        "the folder above; dict(type='ImageList', ann_file=..., data_prefix=FOLDER) says where")


def _add_labels(found, labels):
    if found.source['type'] in _TABLES.values() and isinstance(labels, str) and not osp.exists(labels):
        found.source['label_column'] = labels
    elif isinstance(labels, (str, os.PathLike)) and not osp.isfile(osp.expanduser(labels)):
        raise AbsentFileError(f'labels: no such file: {osp.abspath(osp.expanduser(labels))}; it has a label for each '
                              'image in their order, and the word none leaves labels aside')
    else:
        # a config file holds plain numbers
        found.source['labels'] = os.fspath(labels) if isinstance(labels, (str, os.PathLike)) else \
            labels.tolist() if hasattr(labels, 'tolist') else list(labels)


def _short_name(path):
    name = osp.basename(osp.normpath(path.rstrip('/')))
    stem = name if osp.isdir(path) else osp.splitext(name)[0]
    return ''.join(c if c.isalnum() or c in '-_' else '-' for c in stem).strip('-') or 'data'
