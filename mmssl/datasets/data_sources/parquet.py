# Copyright (c) mmssl contributors. All rights reserved.
"""Images in Parquet and Arrow files, as the data sets of Hugging Face lie on disk."""
from collections import OrderedDict

import numpy as np
from torch.utils.data import get_worker_info

from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from ..registry import DATASOURCES
from .tables import TableSource, import_pyarrow

_SEEN = 1000  # images after which it is said that most of them took a whole row group


@DATASOURCES.register_module()
class Parquet(TableSource):
    """Images in Parquet files.

    So data sets of Hugging Face are published (`huggingface-cli download --repo-type dataset ...`). Of the images
    nothing is read at the start but the footers of the files and the column of labels. Since a whole row group is read
    for one image of it, a full shuffle of a large set reads it many times over: shuffle it by blocks, or pack it into
    shards.

    Args: see TableSource; besides
        cache_mb (float): Row groups that a process keeps, in 10^6 bytes; the last one stays whatever its size.
    """

    extension = '.parquet'

    def __init__(self, data_prefix, split=None, column=None, label_column=None, cache_mb=128., **kwargs):
        if cache_mb < 0:
            raise ConfigError(f'cache_mb must be 0 or more, got {cache_mb!r}')
        self.cache_mb = cache_mb
        super().__init__(data_prefix, split, column, label_column, **kwargs)

    def _forget(self):
        super()._forget()
        self._groups, self._asked, self._reads = OrderedDict(), 0, 0

    def __getstate__(self):
        return {**super().__getstate__(), '_groups': OrderedDict()}

    def _open_file(self, path):
        return import_pyarrow().parquet.ParquetFile(path, memory_map=True)

    def _schema(self, file):
        return file.schema_arrow

    def _rows(self, file):
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]

    def _read_column(self, file, name):
        return file.read(columns=[name], use_threads=False).column(0)

    def _read_group(self, number, group):
        file = self._opened(number)
        self._asked += 1
        if self._asked == _SEEN:
            self._tell_of_reads()
        key = number, group
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        # room is made before the next group is there, so that memory does not hold one more
        size = file.metadata.row_group(group).total_byte_size
        while self._groups and size + sum(column.nbytes for column in self._groups.values()) > self.cache_mb * 1e6:
            self._groups.popitem(last=False)
        self._groups[key] = file.read_row_group(group, columns=self._leaves, use_threads=False).column(0)
        self._reads += 1
        return self._groups[key]

    def _tell_of_reads(self):
        worker = get_worker_info()
        if self._reads > _SEEN / 2 and (worker is None or worker.id == 0):
            size = np.mean([column.nbytes for column in self._groups.values()]) / 1e6
            get_root_logger().warning(
                f'{self.data_prefix}: for {self._reads} of {_SEEN} images a whole row group of about {size:.3g} MB was '
                'read, since the images come in random order: data.sampler=dict(type="BlockShuffleSampler") takes '
                'neighbours, a larger cache_mb keeps more of them, and tools/data_converters/pack_images.py makes '
                'shards, which are read at random')


@DATASOURCES.register_module()
class Arrow(TableSource):
    """Images in Arrow files, which the library datasets of Hugging Face writes (`save_to_disk`, and its cache).

    They are mapped, and any image is read without its neighbours: nothing is kept, and a full shuffle costs no more
    than of files. Files of the streaming and of the random-access format (Feather) are read.

    Args: see TableSource.
    """

    extension = '.arrow'

    def _open_file(self, path):
        pyarrow = import_pyarrow()
        mapped = pyarrow.memory_map(path)
        opened = pyarrow.ipc.open_file if mapped.read(6) == b'ARROW1' else pyarrow.ipc.open_stream
        mapped.seek(0)
        return opened(mapped).read_all()

    def _schema(self, file):
        return file.schema

    def _rows(self, file):
        return [len(chunk) for chunk in file.column(self.column).chunks]

    def _read_column(self, file, name):
        return file.column(name)

    def _read_group(self, number, group):
        return self._opened(number).column(self.column).chunk(group)
