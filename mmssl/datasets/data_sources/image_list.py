# Copyright (c) mmssl contributors. All rights reserved.
"""Images named in text files."""
from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import BaseDataSource, read_lines
from .imagenet import compact


@DATASOURCES.register_module()
class ImageList(BaseDataSource):
    """Images named in one or several list files, labelled, unlabelled or mixed.

    A line is a file name relative to `data_prefix`, optionally a space and a class id. Lines without one get the
    label -1.

    Args: see BaseDataSource; `ann_file` is a file name or a list of them.
    """

    def load_annotations(self):
        files = [self.ann_file] if isinstance(self.ann_file, str) else self.ann_file
        if not isinstance(files, (list, tuple)) or not files:
            raise ConfigError(f'ImageList needs ann_file, a list file or several of them, got {self.ann_file!r}')
        return compact(self._read_line(line) for file in files for _, line in read_lines(file))

    @staticmethod
    def _read_line(line):
        name, _, label = line.rpartition(' ')
        if name and label.removeprefix('-').isdecimal():
            return name.rstrip(), max(int(label), -1)
        return line, -1
