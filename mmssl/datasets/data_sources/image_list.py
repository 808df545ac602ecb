# Copyright (c) mmssl contributors. All rights reserved.
"""Images named in text files."""
from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import BaseDataSource, read_lines, split_label
from .imagenet import compact


@DATASOURCES.register_module()
class ImageList(BaseDataSource):
    """Images named in one or several list files, labelled, unlabelled or mixed.

    A line is a file name relative to `data_prefix`, optionally a space or tab and a class id. Lines without one get the
    label -1.

    Args: see BaseDataSource; `ann_file` is a file name or a list of them.
    """

    def load_annotations(self):
        files = [self.ann_file] if isinstance(self.ann_file, str) else self.ann_file
        if not isinstance(files, (list, tuple)) or not files:
            raise ConfigError(f'ImageList needs ann_file, a list file or several of them, got {self.ann_file!r}')
        return compact(
            self._read_line(f'{file}, line {number}', line) for file in files for number, line in read_lines(file))

    @staticmethod
    def _read_line(place, line):
        name, label = split_label(line, place)
        return name, -1 if label is None else label
