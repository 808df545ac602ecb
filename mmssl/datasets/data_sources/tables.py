# Copyright (c) mmssl contributors. All rights reserved.
"""Images in a column of table files, Parquet and Arrow, as the data sets of Hugging Face lie on disk."""
import glob
import json
import os
import os.path as osp
import re
from abc import abstractmethod
from collections import OrderedDict

import numpy as np

from mmssl.utils.errors import BrokenImageError, ConfigError, nearest
from .base import BaseDataSource
from .labels import take_columns

_OF_MANY = re.compile(r'(.+?)[-.](\d{4,6})-of-(\d{4,6})(-[0-9a-f]+)?$')  # train-00000-of-00010, also with a digest
_SPLITS = {
    word: split
    for split, words in dict(
        train=('train', 'training'),
        validation=('validation', 'valid', 'val', 'dev'),
        test=('test', 'testing', 'eval', 'evaluation')).items()
    for word in words
}
_OPEN_FILES = 8  # of one process
_CLASSES = 2**20  # several of which an image has; each takes a byte an image


def import_pyarrow():
    """The package pyarrow, which reads these files; a ConfigError says how it is installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(f'Parquet and Arrow files are read by pyarrow, which is not there ({error}): pip install '
                          'pyarrow') from error
    return pyarrow


def split_of(path):
    """The split that a file belongs to by its name.

    Args:
        path (str): Relative to the folder of the data set, such as 'data/train-00000-of-00010.parquet',
            'train/0000.parquet' or 'cifar10-test.arrow'.

    Returns:
        str: 'train', 'validation', 'test' or another; '' where the name says nothing.
    """
    stem = osp.splitext(path)[0]
    folders, _, name = stem.rpartition('/')
    found = _OF_MANY.match(name)
    if found and found[1] != 'data':
        return _SPLITS.get(found[1].rpartition('-')[2].lower(), found[1])
    words = [_SPLITS[word] for word in re.split('[^a-z]+', (folders if found else stem).lower()) if word in _SPLITS]
    return words[-1] if words else ''


def find_tables(place, extension, split=None):
    """Files of a data set, in order.

    Args:
        place (str): A file, a folder (files in its folders count as well) or a pattern with * or ?.
        extension (str): Of the files in a folder, '.parquet' or '.arrow'.
        split (str, optional): Take the files of this split, by their names; see split_of. None: there is one only.

    Returns:
        list[str]: Paths, sorted.

    Raises:
        FileNotFoundError: There are none.
        ConfigError: They are of several splits and none is asked for, there is no such split, or one of
            N files `...-of-N` is absent.
    """
    if osp.isfile(place):
        root, files = osp.dirname(place), [place]
    elif osp.isdir(place):
        root = place
        files = [osp.join(here, name) for here, _, names in os.walk(place) for name in names]
        # what the library datasets has computed from others lies in files cache-*.arrow
        files = [
            file for file in files if file.endswith(extension) and '/.' not in file[len(root):]
            and not (extension == '.arrow' and osp.basename(file).startswith('cache-'))
        ]
    else:
        root, files = osp.dirname(re.split('[*?[]', place)[0]), glob.glob(place, recursive=True)
    if not files:
        raise FileNotFoundError(
            f'no files *{extension}: data_prefix is {place!r}, which is a file, a folder that holds '
            f'such files, or a pattern such as "data/train-*{extension}"')
    splits = {}
    for file in sorted(files):
        splits.setdefault(split_of(osp.relpath(file, root or '.')), []).append(file)
    wanted = split if split is None or split in splits else _SPLITS.get(split, split)
    if wanted is None and len(splits) == 1:
        wanted = next(iter(splits))
    if wanted not in splits:
        there = ', '.join(f'{name!r} ({len(found)} files)' if name else f'{len(found)} files of no split'
                          for name, found in splits.items())
        raise ConfigError(f'split is {split!r}, and {place} holds {there}' +
                          (': name one' if split is None else f'; {nearest(split, filter(None, splits), "splits")}'))
    _see_that_all_are_there(splits[wanted], place)
    return splits[wanted]


def _see_that_all_are_there(files, place):
    sets = {}
    for file in files:
        found = _OF_MANY.match(osp.splitext(file)[0])
        if found:
            sets.setdefault((found[1], int(found[3])), set()).add(int(found[2]))
    for (name, count), numbers in sets.items():
        absent = sorted(set(range(count)) - numbers)
        if absent and not any(character in place for character in '*?[') and not osp.isfile(place):
            raise ConfigError(f'{name}: {len(absent)} of {count} files are absent, such as number {absent[0]}; a '
                              'pattern as data_prefix, such as "data/train-*", takes those that are there')


def _plain(kind):
    """The type of the values of a column whose words stand in a dictionary, such as those of a category of pandas."""
    return kind.value_type if import_pyarrow().types.is_dictionary(kind) else kind


def _state(path):
    """What tells that a file has been written anew."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


class TableSource(BaseDataSource):
    """Images in a column of tables: encoded files as binary values, or as the field `bytes` of a struct.

    A subclass writes `_open_file`, `_schema`, `_rows`, `_read_column` and `_read_group`. A process keeps open the 8
    files that it looked at last.

    Args: see BaseDataSource; besides
        data_prefix (str): A file, a folder, or a pattern such as "data/train-*.parquet".
        split (str, optional): Take the files of this split, by their names: `train-00000-of-00010.parquet` is of
            'train', and so is `train/0000.parquet`. Needed where there are several.
        column (str, optional): Column of the images; None: the only one that is marked as images, or holds binary
            values.
        label_column (str | bool, optional): Column of the labels: integers; words, which count in their order; or lists
            of integers, where an image has several. None: `label`, or the only one that is marked as a label of
            classes; False: none.

    Attributes:
        targets (ndarray | None): With lists of labels N x C int8: 1 where the class is in the list, else 0; a null
            list gives a row of -1.
        blocks (ndarray): int64, cumulated counts: the samples blocks[b-1]..blocks[b]-1 lie in one group of rows.

    Raises:
        FileNotFoundError: There are no such files.
        ConfigError: One is damaged, they differ in their columns, or a column is absent or of another kind.
    """

    extension = None

    @abstractmethod
    def _open_file(self, path):
        """A file, opened."""

    @abstractmethod
    def _schema(self, file):
        """pyarrow.Schema: Of an open file."""

    @abstractmethod
    def _rows(self, file):
        """list[int]: Rows of each group."""

    @abstractmethod
    def _read_column(self, file, name):
        """pyarrow.ChunkedArray: A whole column of an open file."""

    @abstractmethod
    def _read_group(self, number, group):
        """The column of images of one group of the file of a number: what gives a value for the number of a row."""

    def __init__(self, data_prefix, split=None, column=None, label_column=None, **kwargs):
        self.split = split
        self.column = column
        self.label_column = label_column
        self._forget()
        super().__init__(data_prefix, **kwargs)

    def _open(self, path):
        """A file, opened; a ConfigError where it is none, or not whole."""
        pyarrow = import_pyarrow()
        try:
            return self._open_file(path)
        except FileNotFoundError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise ConfigError(f'{path} is no whole {type(self).__name__} file: {error}') from error

    def _forget(self):
        self._process, self._files = os.getpid(), OrderedDict()

    def __getstate__(self):
        return {**super().__getstate__(), '_files': OrderedDict()}

    def load_annotations(self):
        if self.data_prefix is None or self.ann_file is not None:
            raise ConfigError(
                f'{type(self).__name__} takes the files of data_prefix and no list: set ann_file=None; got '
                f'data_prefix={self.data_prefix!r}, ann_file={self.ann_file!r}')
        self.paths = find_tables(os.fspath(self.data_prefix), self.extension, self.split)
        ends, firsts, labels, schema = [0], [0], [], None
        self._states = []
        for path in self.paths:
            self._states.append(_state(path))
            file = self._open(path)
            if schema is None:
                schema = self._schema(file)
                self._find_columns(schema, path)
            self._check_columns(self._schema(file), schema, path)
            for rows in self._rows(file):
                ends.append(ends[-1] + rows)
            firsts.append(len(ends) - 1)
            labels.append(self._read_labels(file, path))
        self._ends = np.array(ends, np.int64)  # of the row groups, in samples
        self._firsts = np.array(firsts, np.int64)  # number of the first row group of each file
        return np.arange(ends[-1], dtype=np.uint32 if ends[-1] < 2**32 else np.int64), self._join_labels(labels)

    def _find_columns(self, schema, path):
        """Settle which columns hold images and labels."""
        types = import_pyarrow().types
        marked = {}
        try:
            marked = json.loads((schema.metadata or {}).get(b'huggingface', b'{}'))['info']['features']
        except (ValueError, KeyError, TypeError):
            pass  # not written by Hugging Face
        kinds = {name: mark.get('_type') for name, mark in marked.items() if isinstance(mark, dict)}

        def is_binary(kind):
            return types.is_binary(kind) or types.is_large_binary(kind)

        def holds_images(kind):
            if types.is_struct(kind):
                return kind.get_field_index('bytes') >= 0 and is_binary(kind.field('bytes').type)
            return is_binary(kind)

        fit = [field.name for field in schema if holds_images(field.type)]
        images = [name for name in fit if kinds.get(name) == 'Image'] or fit
        if self.column is None:
            if len(images) != 1:
                what = f'{len(images)} columns of images: {", ".join(images)}' if images else (
                    f'no column of images among {", ".join(schema.names)}')
                raise ConfigError(f'{path} has {what}. Images are encoded files, as binary values or as the field '
                                  '`bytes` of a struct; column names the one to take')
            self.column = images[0]
        elif self.column not in fit:
            raise ConfigError(f'{path} has no column of images {self.column!r}; ' +
                              (f'it is of the type {schema.field(self.column).type}' if self.column in
                               schema.names else nearest(self.column, fit, 'columns of images')))
        in_struct = types.is_struct(schema.field(self.column).type)
        fields = ('bytes',
                  'path') if in_struct and schema.field(self.column).type.get_field_index('path') >= 0 else ('bytes', )
        self._leaves = [f'{self.column}.{field}' for field in fields] if in_struct else [self.column]

        if self.label_column is None:
            classes = [name for name in schema.names if kinds.get(name) == 'ClassLabel']
            if 'label' in schema.names:
                classes = ['label']
            if len(classes) > 1:
                raise ConfigError(f'{path} has several labels: {", ".join(classes)}: label_column names the one to '
                                  'take, and label_column=False takes none')
            self.label_column = classes[0] if classes else False
        elif self.label_column is not False and self.label_column not in schema.names:
            raise ConfigError(f'{path} has no column {self.label_column!r} for labels; '
                              f'{nearest(self.label_column, schema.names, "columns")}')
        self._class_names = None
        if self.label_column:
            mark = marked.get(self.label_column) or {}
            kind = _plain(schema.field(self.label_column).type)
            self.multi_label = types.is_list(kind) and types.is_integer(kind.value_type)
            if self.multi_label:  # Sequence, List, or a list of one, as releases of the library write it
                mark = mark[0] if isinstance(mark, list) else mark.get('feature', {})
            if mark.get('_type') == 'ClassLabel' and not types.is_string(kind):
                self._class_names = mark.get('names')
            if not (self.multi_label or types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)):
                raise ConfigError(f'{path}: the column {self.label_column!r} is of the type {kind}; labels are '
                                  'integers, lists of them, or words. label_column=False takes none')

    def _check_columns(self, schema, first, path):
        for name in filter(None, (self.column, self.label_column)):
            kind = schema.field(name).type if name in schema.names else 'absent'
            if kind != first.field(name).type:
                raise ConfigError(f'the column {name!r} is {first.field(name).type} in {self.paths[0]} and {kind} in '
                                  f'{path}')

    def _read_labels(self, file, path):
        """Labels of one file, an int32 array, or an array of words."""
        if not self.label_column:
            return np.full(sum(self._rows(file)), -1, np.int32)
        pyarrow = import_pyarrow()
        try:
            column = self._read_column(file, self.label_column)
            column = column.cast(_plain(column.type))
        except (pyarrow.ArrowException, OSError) as error:
            raise ConfigError(f'{path}: the labels in the column {self.label_column!r} are damaged: {error}') from error
        if self.multi_label:
            return column
        if not pyarrow.types.is_integer(column.type):
            return np.array(column.to_pylist(), object)
        try:
            values = column.cast(pyarrow.int64()).fill_null(-1).to_numpy()
        except pyarrow.ArrowInvalid as error:  # beyond 2^63
            raise ConfigError(f'{path}: a label in the column {self.label_column!r} is too large: {error}') from error
        wrong = np.flatnonzero((values < -1) | (values >= 2**31))
        if len(wrong):
            raise ConfigError(f'{path}: a label is 0 to {2**31 - 1}, or -1 or null for an image without one; got '
                              f'{values[wrong[0]]} in row {wrong[0]} of {self.label_column!r}')
        return values.astype(np.int32)

    def _join_labels(self, labels):
        if self.multi_label:
            return self._join_lists(labels)
        labels = np.concatenate(labels)
        if labels.dtype == object:
            words = [word for word in labels if word is not None]
            self._class_names = sorted(set(words))
            numbers = {word: number for number, word in enumerate(self._class_names)}
            labels = np.array([numbers.get(word, -1) for word in labels], np.int32)
        if self._class_names is not None:
            self.found_classes = tuple(self._class_names)
        return labels

    def _join_lists(self, columns):
        """Fill `targets` from lists of classes; a null list leaves all classes of its image open."""
        lengths, values = [], []
        for chunk in (chunk for column in columns for chunk in column.chunks):
            lengths.append(chunk.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False))
            values.append(chunk.flatten().fill_null(-1).to_numpy(zero_copy_only=False))
        lengths, values = np.concatenate(lengths), np.concatenate(values)
        most = len(self._class_names) if self._class_names is not None else max(values, default=0) + 1
        if len(values) and not 0 <= values.min() <= values.max() < most:
            raise ConfigError(f'{self.data_prefix}: the classes in the lists of {self.label_column!r} are 0 to '
                              f'{most - 1}, got {values.min()} and {values.max()}')
        if most > _CLASSES:
            raise ConfigError(
                f'{self.data_prefix}: the lists of {self.label_column!r} have the class {most - 1}: classes '
                f'are counted from 0, and are at most {_CLASSES}. label_column=False takes none')
        targets = np.zeros((len(lengths), most), np.int8)
        targets[np.repeat(np.arange(len(lengths)), np.maximum(lengths, 0)), values] = 1
        targets[lengths < 0] = -1
        if self._class_names is None:
            self.targets = targets
        else:
            self.targets, self.CLASSES = take_columns(targets, self._class_names, self.CLASSES)
        return np.full(len(targets), -1, np.int32)

    @property
    def blocks(self):
        group = np.searchsorted(self._ends, self.samples, 'right')
        return np.append(np.flatnonzero(np.diff(group)) + 1, len(group)).astype(np.int64)

    def _locate(self, idx):
        """Number of the file, of the row group in it, and of the row in that."""
        sample = int(self.samples[idx])
        group = int(np.searchsorted(self._ends, sample, 'right')) - 1
        file = int(np.searchsorted(self._firsts, group, 'right')) - 1
        return file, group - int(self._firsts[file]), sample - int(self._ends[group])

    def get_filename(self, idx):
        """File and row of a sample, for messages."""
        file, group, row = self._locate(idx)
        row += int(self._ends[self._firsts[file] + group] - self._ends[self._firsts[file]])
        return f'{self.paths[file]}, row {row}'

    def _opened(self, number):
        """The file of a number, of those that are open if it is among them."""
        if self._process != os.getpid():  # a fork: its parent reads the same descriptors
            self._forget()
        if number not in self._files:
            while len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)
            if _state(self.paths[number]) != self._states[number]:
                raise ConfigError(f'{self.paths[number]} has changed since the start, when its labels were read')
            self._files[number] = self._open(self.paths[number])
        self._files.move_to_end(number)
        return self._files[number]

    def get_bytes(self, idx):
        file, group, row = self._locate(idx)
        pyarrow = import_pyarrow()
        try:
            value = self._read_group(file, group)[row]
        except (pyarrow.ArrowException, OSError, ConfigError) as error:
            raise BrokenImageError(self.get_filename(idx), f'{type(error).__name__}: {error}') from error
        value, path = value.as_py(), None
        if isinstance(value, dict):
            value, path = value['bytes'], value.get('path')
        if value is not None:
            return value
        if path is None:
            raise BrokenImageError(self.get_filename(idx), f'the column {self.column!r} is null there')
        try:  # the file stands elsewhere
            with open(osp.join(osp.dirname(self.paths[file]), path), 'rb') as image:
                return image.read()
        except OSError as error:
            raise BrokenImageError(
                self.get_filename(idx), f'the image is not in the column, and its path {path!r} '
                f'cannot be read: {error}') from error
