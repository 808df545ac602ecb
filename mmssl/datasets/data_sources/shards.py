# Copyright (c) mmssl contributors. All rights reserved.
"""Images in tar shards, as the webdataset library has them, by number."""
import math
import os
import os.path as osp
from collections.abc import Sequence
from inspect import signature

import numpy as np

from mmssl.utils.chunk_cache import ChunkCache, default_folder
from mmssl.utils.errors import BrokenImageError, ConfigError, check_integer
from mmssl.utils.logger import get_root_logger
from mmssl.utils.mapped import constant_array
from mmssl.utils.remote_files import RemoteFolder, is_remote
from mmssl.utils.remote_shards import RemoteShards, fetch_index
from mmssl.utils.shard_files import LocalShards
from mmssl.utils.shard_index import FOLDER, ShardIndex
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings
from .labels import take_columns


def source_of_folder(folder):
    """Config of the source for a folder that may be any tree of images, or one of tar shards with their index.

    Args:
        folder (str | Path): The folder.

    Returns:
        dict: Of a Folder or of Shards.
    """
    kind = 'Shards' if osp.isfile(osp.join(folder, FOLDER, 'index.json')) else 'Folder'
    return dict(type=kind, data_prefix=str(folder))


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

    Shards on a server are read through a cache on the local disk, which all processes of the node and later runs share.
    A fault of server or network is no broken image: it ends the run when all tries are used up.

    Args:
        data_prefix (str): Folder of the shards, or its address: s3://bucket/folder, gs://bucket/folder,
            https://host/folder, or of another protocol of fsspec.
        ann_file (None): There so that a config for lists becomes one for shards by two options,
            `type=Shards ann_file=None`.
        storage_options (dict, optional): Arguments of fsspec's file system, such as dict(anon=True). No keys: these
            come from the environment.
        cache_dir (str, optional): Folder of the cache, on a disk of the node. None: mmssl-cache-UID in $TMPDIR or /tmp.
        cache_size (float): Bound of the cache in GB. With 0 each image is asked for by itself, every time.
        chunk_size (float): What is fetched in one request, in MB.
        parallel (int): Requests of a process at the same time.
        timeout (float): Seconds within which the answer to a request must be there, to its last byte.
        tries (int): Tries before a request counts as failed, with pauses between them.
        kwargs: See BaseDataSource.

    Attributes:
        index (ShardIndex): The index.
        files (LocalShards | RemoteShards): What reads the bytes: `read(number of the shard, offset, size)`, `close()`.
        remote (bool): Whether the shards are on a server.
    """

    def __init__(self,
                 data_prefix,
                 ann_file=None,
                 storage_options=None,
                 cache_dir=None,
                 cache_size=20.,
                 chunk_size=4.,
                 parallel=8,
                 timeout=60.,
                 tries=4,
                 **kwargs):
        if ann_file is not None:
            raise ConfigError(
                f'Shards takes what the index names and no list: set ann_file=None instead of {ann_file!r}')
        if data_prefix is None:
            raise ConfigError('Shards needs data_prefix, the folder of the shards')
        self.remote = is_remote(data_prefix)
        if self.remote:
            if not 0 <= cache_size < math.inf or 0 < cache_size < 16e-3 * chunk_size:
                raise ConfigError(
                    f'cache_size is a number of GB, enough for 16 chunks of chunk_size={chunk_size:g} MB or '
                    f'0; got {cache_size!r}')
            if not 0.01 <= chunk_size <= 1000:
                raise ConfigError(f'chunk_size is a number of MB from 0.01 to 1000, got {chunk_size!r}')
            check_integer(parallel, 'parallel', 1)
            self._place = dict(
                folder=RemoteFolder(data_prefix, storage_options, timeout, tries),
                cache=ChunkCache(cache_dir or default_folder(), cache_size * 1e9),
                chunk_bytes=int(chunk_size * 1e6),
                parallel=parallel)
        else:
            options = dict(
                storage_options=storage_options or None,
                cache_dir=cache_dir,
                cache_size=cache_size,
                chunk_size=chunk_size,
                parallel=parallel,
                timeout=timeout,
                tries=tries)
            defaults = signature(Shards).parameters
            given = [name for name, value in options.items() if value != defaults[name].default]
            if given:
                raise ConfigError(f'{", ".join(given)}: for shards on a server alone, and data_prefix is the folder '
                                  f'{data_prefix}; leave that out')
        super().__init__(data_prefix, **kwargs)

    def load_annotations(self):
        if self.remote:
            folder, key = fetch_index(**self._place)
            self.index = ShardIndex(folder)
            self.files = RemoteShards(shards=self.index.shards, key=key, **self._place)
        else:
            self.index = ShardIndex(osp.join(self.data_prefix, FOLDER))
            self.files = LocalShards(self.data_prefix, self.index.shards)
            self._tell_others()
        labels = self.index.label
        if self.index.targets is None:
            self.found_classes = self.index.classes
        else:
            self.multi_label, self.targets = True, self.index.targets
            if self.index.classes is not None:
                self.targets, self.CLASSES = take_columns(self.targets, self.index.classes, self.CLASSES)
            elif self.CLASSES is not None and len(self.CLASSES) != self.targets.shape[1]:
                raise ConfigError(f'the labels of the shards are of {self.targets.shape[1]} classes, and '
                                  f'{len(self.CLASSES)} are named')
        return MemberNames(self.index), constant_array(-1, len(self.index)) if labels is None else labels

    def _tell_others(self):
        """Warn of shards that came after the index."""
        known = {shard.name for shard in self.index.shards}
        others = sorted(name for name in os.listdir(self.data_prefix) if name.endswith('.tar') and name not in known)
        if others:
            get_root_logger().warning(f'{self.data_prefix}: the index knows {len(known)} shards and not '
                                      f'{", ".join(others[:3])}{", ..." if len(others) > 3 else ""}, which '
                                      f'{"is" if len(others) == 1 else "are"} left out; '
                                      'tools/data_converters/index_shards.py indexes all')

    def largest_label(self):
        return self.index.num_classes - 1 if self.labels is self.index.label else super().largest_label()

    @property
    def blocks(self):
        """ndarray: Samples up to and with each shard, so that shard b has those from blocks[b - 1] to blocks[b] - 1."""
        rows = self.samples.rows
        return self.index.shard_ends if rows is None else np.searchsorted(rows, self.index.shard_ends)

    def part(self, idx):
        """tuple[int, int, int]: Where a sample lies: number of the shard, offset in it, bytes."""
        return self.index.locate(self.samples.row(idx))

    def read_ahead(self, indices):
        """Ask the server for some samples at the same time, which will be looked at next.

        Args:
            indices (Sequence[int]): Their numbers.
        """
        self.files.read_ahead([self.part(idx) for idx in indices])

    def will_read(self, idx):
        self.files.will_read(*self.part(idx))

    def get_bytes(self, idx):
        try:
            return self.files.read(*self.part(idx))
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise BrokenImageError(self.get_filename(idx), f'the index is damaged: {error}') from error
