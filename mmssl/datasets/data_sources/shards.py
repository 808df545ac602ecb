# Copyright (c) mmssl contributors. All rights reserved.
"""Images in tar shards, as the webdataset library has them, by number."""
import os.path as osp
from collections.abc import Sequence

import numpy as np

from mmssl.utils.errors import BrokenImageError, ConfigError
from mmssl.utils.mapped import constant_array
from mmssl.utils.shard_files import LocalShards
from mmssl.utils.shard_index import FOLDER, ShardIndex
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings


class MemberNames(Sequence):
    """`SHARD.tar!MEMBER` of each sample, made when it is asked for.

    Args:
        index (ShardIndex): The index.
        rows (ndarray, optional): Numbers of the samples in the index; None: all of them.
    """

    def __init__(self, index, rows=None):
        self.index, self.rows = index, rows
        self.names = CompactStrings.of(index.names, index.name_ends)

    def __len__(self):
        return len(self.names) if self.rows is None else len(self.rows)

    def row(self, idx):
        """int: Number of a sample in the index."""
        if idx < 0:
            idx += len(self)
        if not 0 <= idx < len(self):
            raise IndexError(f'index {idx} of {len(self)} samples')
        return int(idx if self.rows is None else self.rows[idx])

    def __getitem__(self, idx):
        row = self.row(idx)
        return f'{self.index.shards[self.index.shard_of(row)].name}!{self.names[row]}'

    def take(self, kept):
        """MemberNames: Some of them, by their numbers here."""
        return MemberNames(self.index, np.asarray(kept) if self.rows is None else self.rows[kept])


@DATASOURCES.register_module()
class Shards(BaseDataSource):
    """Tar shards with an index beside them, as tools/data_converters/pack_images.py and index_shards.py write it.

    Any sample is read by its number, out of one memory map a shard. Names, places and labels stay in the files of the
    index, so that neither start-up nor memory grows with the number of samples.

    Args: see BaseDataSource; `data_prefix` is the folder of the shards. `ann_file` is None: it is there so that a
        config for lists becomes one for shards by two options, `type=Shards ann_file=None`.

    Attributes:
        index (ShardIndex): The index.
        files: What reads the bytes: `read(number of the shard, offset, size)`, `close()`.
    """

    def __init__(self, data_prefix, ann_file=None, **kwargs):
        if ann_file is not None:
            raise ConfigError(
                f'Shards takes what the index names and no list: set ann_file=None instead of {ann_file!r}')
        if data_prefix is None:
            raise ConfigError('Shards needs data_prefix, the folder of the shards')
        super().__init__(data_prefix, **kwargs)

    def load_annotations(self):
        self.index = ShardIndex(osp.join(self.data_prefix, FOLDER))
        self.files = LocalShards(self.data_prefix, self.index.shards)
        self.found_classes = self.index.classes
        labels = self.index.label
        return MemberNames(self.index), constant_array(-1, len(self.index)) if labels is None else labels

    def largest_label(self):
        return self.index.num_classes - 1 if self.labels is self.index.label else super().largest_label()

    @property
    def blocks(self):
        """ndarray: Samples up to and with each shard: those of shard b are blocks[b - 1] to blocks[b] - 1."""
        rows = self.samples.rows
        return self.index.shard_ends if rows is None else np.searchsorted(rows, self.index.shard_ends)

    def get_bytes(self, idx):
        number, offset, size = self.index.locate(self.samples.row(idx))
        try:
            return self.files.read(number, offset, size)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise BrokenImageError(self.get_filename(idx), f'the index is damaged: {error}') from error
