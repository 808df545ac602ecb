# Copyright (c) mmssl contributors. All rights reserved.
"""Images named in lists: texts, arrays, pickles."""
import numpy as np

from mmssl.utils.errors import ConfigError
from mmssl.utils.mapped import constant_array
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings, read_lines, split_label
from .imagenet import compact
from .lists import is_array_list, read_array_list, without_prefix


@DATASOURCES.register_module()
class ImageList(BaseDataSource):
    """Images named in one or several list files, labelled, unlabelled or mixed.

    A line of a text is a file name relative to `data_prefix`, optionally a space or tab and a class id. Lines without
    one get the label -1. A .npy, .npz, .pkl or .json file holds names, and perhaps labels, in one of the forms of
    read_array_list; the names in one .npy file stay there until they are asked for. Labels that are words are numbered
    in their order and give the names of the classes.

    Args: see BaseDataSource, and:
        data_prefix (str, optional): Folder that file names are relative to; None where they are whole paths.
        ann_file (str | list[str]): The list, or several that are read one after another.
        remove_prefix (str, optional): A folder that all names begin with, and which is taken off, so that lists which
            were made elsewhere are relative to `data_prefix`.
    """

    def __init__(self, data_prefix=None, classes=None, ann_file=None, remove_prefix=None, **kwargs):
        self.remove_prefix = remove_prefix or ''
        super().__init__(data_prefix, classes, ann_file, **kwargs)

    def load_annotations(self):
        files = [self.ann_file] if isinstance(self.ann_file, str) else self.ann_file
        if not isinstance(files, (list, tuple)) or not files:
            raise ConfigError(f'ImageList needs ann_file, a list file or several of them, got {self.ann_file!r}')
        found = [self._read_list(file) for file in files]
        names, labels, words = found[0]
        if len(found) > 1:
            names = CompactStrings(name for part, _, _ in found for name in part)
            labels, words = self._joined(found)
        if labels.ndim == 2:
            self.multi_label, self.targets, labels = True, labels, constant_array(-1, len(names))
        self.found_classes = words
        return names, labels

    def _read_list(self, file):
        if not is_array_list(file):
            return (*compact(self._read_line(f'{file}, line {number}', line)
                             for number, line in read_lines(file)), None)
        names, labels, words = read_array_list(file, self.remove_prefix)
        return names, constant_array(-1, len(names)) if labels is None else labels, words

    def _joined(self, found):
        """Labels of several lists: all numbers, or all words, which are numbered anew."""
        shapes = {labels.shape[1:] for _, labels, _ in found}
        kinds = {words is None for _, labels, words in found if labels.max() >= 0}
        if len(shapes) > 1 or len(kinds) > 1:
            raise ConfigError(
                f'the lists {self.ann_file} have labels of different kinds: one number an image in all of '
                'them, or one word, or the same number of columns')
        words = sorted({word for _, _, own in found for word in own or ()})
        if not words:
            return np.concatenate([labels for _, labels, _ in found]), None
        number = {word: i for i, word in enumerate(words)}
        tables = [np.array([*(number[word] for word in own or ()), -1], np.int32) for _, _, own in found]
        return np.concatenate([table[labels] for table, (_, labels, _) in zip(tables, found)]), tuple(words)

    def _read_line(self, place, line):
        name, label = split_label(line, place)
        return without_prefix(name, self.remove_prefix) if self.remove_prefix else name, -1 if label is None else label
