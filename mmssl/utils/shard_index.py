# Copyright (c) mmssl contributors. All rights reserved.
"""The index beside tar shards: where each image lies, its label and its name, in arrays that stay in their files."""
import contextlib
import hashlib
import json
import os
import os.path as osp
import shlex
import shutil
import struct
from collections import namedtuple

import numpy as np

from .errors import ConfigError, check_integer
from .locks import locked
from .mapped import map_array
from .misc import atomic_write

VERSION = 1
FOLDER = 'index'  # beside the shards
ARRAYS = dict(
    offset=np.uint64,  # of the bytes of each image in its shard
    size=np.uint32,  # bytes of each image
    label=np.int32,  # of each image, -1 where it has none; no such file where no image has one
    names=np.uint8,  # the names of the members, in UTF-8, one after the other
    name_ends=np.uint64,  # where in `names` each ends, behind a 0
    shard_ends=np.int64)  # samples up to and with each shard
_EDGE = 2**16  # bytes at both ends of a shard that its digest is made of
_LOCK = 'lock'  # in an index that is being written
_HEADER = 128  # bytes in front of the values of a .npy file

Shard = namedtuple('Shard', 'name bytes samples digest')


def shard_digest(read, size):
    """What tells one shard from another of the same size: a digest of its size and of 64 KiB at both ends.

    Args:
        read (callable): (offset, size) -> bytes.
        size (int): Bytes of the shard.

    Returns:
        str: 32 hexadecimal digits.
    """
    digest = hashlib.sha256(str(size).encode())
    digest.update(read(0, min(_EDGE, size)))
    start = max(0, size - _EDGE)
    digest.update(read(start, size - start))
    return digest.hexdigest()[:32]


def file_shard_digest(path):
    """shard_digest of a file on disk."""
    with open(path, 'rb', buffering=0) as file:
        return shard_digest(lambda offset, size: os.pread(file.fileno(), size, offset), os.fstat(file.fileno()).st_size)


class ShardIndex:
    """The index of a set of shards; its arrays stay in their files.

    Args:
        folder (str | Path): The folder with index.json and the arrays.

    Attributes:
        shards (list[Shard]): File name, bytes, number of samples and digest of each shard.
        offset, size, names, name_ends, shard_ends (MappedArray): See ARRAYS.
        label (MappedArray | None): None where no image has one.
        targets (MappedArray | None): Where images have several labels, int8 of 1, 0 and -1 (unknown): a row an image, a
            column a class.
        classes (list[str] | None): Names of the classes.
        num_classes (int): One more than the largest label.
        digest (str): Of the set of shards: that of another set is another one.

    Raises:
        FileNotFoundError: There is no index.
        ConfigError: It is of another version, damaged or incomplete.
    """

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        path = osp.join(self.folder, 'index.json')
        try:
            with open(path, encoding='utf-8') as file:
                facts = json.load(file)
            if facts['version'] != VERSION:
                raise ConfigError(f'{path} is an index of version {facts["version"]}, and this release reads version '
                                  f'{VERSION}: {self._mend()}')
            self.shards = [Shard(**entry) for entry in facts['shards']]
            for shard in self.shards:
                if osp.isabs(shard.name) or '..' in shard.name.split('/'):
                    raise ConfigError(f'{path} names the shard {shard.name!r}, which is not in its folder: '
                                      f'{self._mend()}')
            self.classes, self.num_classes = facts['classes'], facts['num_classes']
            self.digest, samples, columns = facts['digest'], facts['samples'], facts.get('columns')
            if samples != sum(shard.samples for shard in self.shards):
                raise ConfigError(f'{path}: the samples of the shards are {sum(s.samples for s in self.shards)}, and '
                                  f'{samples} is their stated sum: {self._mend()}')
        except FileNotFoundError:
            raise FileNotFoundError(f'there is no index of shards, {osp.abspath(path)}: {self._mend()}') from None
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f'{path} is no index of shards ({type(error).__name__}: {error}): {self._mend()}') from None
        for name in ARRAYS:
            setattr(self, name, self._map(name, samples) if name != 'label' or facts['labelled'] else None)
        self.targets = None if columns is None else self._map('targets', samples, np.int8, (samples, columns))
        if int(self.name_ends[-1]) != len(self.names) or int(self.shard_ends[-1]) != samples:
            raise ConfigError(f'the arrays of the index {self.folder} do not belong together: {self._mend()}')

    def _mend(self):
        folder = shlex.quote(osp.dirname(self.folder) or '.')
        return f'"python tools/data_converters/index_shards.py {folder}" writes one'

    def _map(self, name, samples, dtype=None, shape=None):
        path = osp.join(self.folder, f'{name}.npy')
        try:
            array = map_array(path)
        except FileNotFoundError:
            raise FileNotFoundError(f'the index has no {osp.abspath(path)}: {self._mend()}') from None
        except (ValueError, EOFError) as error:
            raise ConfigError(f'{path} is damaged ({error}): {self._mend()}') from error
        dtype = np.dtype(dtype or ARRAYS[name])
        lengths = dict(names=array.size, name_ends=samples + 1, shard_ends=len(self.shards))
        shape = shape or (lengths.get(name, samples), )
        if array.dtype != dtype or array.shape != shape:
            raise ConfigError(f'{path} has {array.dtype} of the shape {array.shape}, and {dtype} of {shape} belongs to '
                              f'index.json: {self._mend()}')
        return array

    def __len__(self):
        return int(self.shard_ends[-1])

    def locate(self, idx):
        """Where a sample lies.

        Args:
            idx (int): Its number.

        Returns:
            tuple[int, int, int]: Number of the shard, offset in it, bytes.

        Raises:
            IndexError: There is no such sample.
        """
        return self.shard_of(idx), int(self.offset[idx]), int(self.size[idx])

    def shard_of(self, idx):
        """Number of the shard that holds a sample; see locate."""
        if not 0 <= idx < len(self):
            raise IndexError(f'sample {idx} of {len(self)}')
        return int(np.asarray(self.shard_ends).searchsorted(idx, 'right'))


class _ArrayFile:
    """A .npy file of one axis that is written piece by piece."""

    def __init__(self, path, dtype):
        self.dtype, self.length = np.dtype(dtype), 0
        self.file = open(path, 'wb')
        self.file.write(bytes(_HEADER))

    def append(self, values):
        values = np.ascontiguousarray(values, self.dtype)
        self.file.write(values.data)
        self.length += len(values)

    def close(self):
        text = f"{{'descr': {self.dtype.str!r}, 'fortran_order': False, 'shape': ({self.length},), }}"
        self.file.seek(0)
        self.file.write(b'\x93NUMPY\1\0' + struct.pack('<H', _HEADER - 10) + text.ljust(_HEADER - 11).encode() + b'\n')
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


class IndexWriter:
    """Writes an index, shard by shard; it appears under its name when `finish` is called.

    Until then it lies in FOLDER.tmp, which the next writer takes over where this one is killed.

    Args:
        folder (str | Path): Where it is to lie; one that is there is replaced.

    Raises:
        ConfigError: Another process writes it at this moment.
    """

    def __init__(self, folder):
        self.folder = os.fspath(folder).rstrip(os.sep)
        self.temporary = f'{self.folder}.tmp'
        os.makedirs(self.temporary, exist_ok=True)
        self._held = contextlib.ExitStack()
        self._hold(osp.join(self.temporary, _LOCK))
        for name in os.listdir(self.temporary):
            if name != _LOCK:
                os.remove(osp.join(self.temporary, name))
        self.shards, self.samples, self.characters, self.most = [], 0, 0, -1
        self.files = {
            name: _ArrayFile(osp.join(self.temporary, f'{name}.npy'), dtype)
            for name, dtype in ARRAYS.items()
        }
        self.files['name_ends'].append([0])

    def _hold(self, path):
        """Lock a file until `_held` is closed or this process ends, however it does."""
        file = self._held.enter_context(open(path, 'w'))
        if self._held.enter_context(locked(file.fileno(), wait=False)):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
                    return  # else another one was just done with it
        self._held.close()
        raise ConfigError(f'another process writes the index {self.folder} at this moment')

    def add(self, name, size, digest, offsets, sizes, names, name_ends, labels=None):
        """Add a shard.

        Args:
            name (str): File name of the shard.
            size (int): Its bytes.
            digest (str): See shard_digest.
            offsets, sizes (ndarray): Of the images in it.
            names (bytes): Names of the members, one after the other.
            name_ends (ndarray): Where in `names` each ends.
            labels (ndarray, optional): -1 where there is none. None: no image of the shard has one.
        """
        count = len(offsets)
        self.shards.append(Shard(name, size, count, digest))
        self.samples += count
        if labels is None:
            labels = np.full(count, -1)
        elif count:
            self.most = max(self.most, int(np.max(labels)))
        self.files['offset'].append(offsets)
        self.files['size'].append(sizes)
        self.files['label'].append(labels)
        self.files['names'].append(np.frombuffer(names, np.uint8))
        self.files['name_ends'].append(np.asarray(name_ends, np.uint64) + np.uint64(self.characters))
        self.files['shard_ends'].append([self.samples])
        self.characters += len(names)

    def renumber(self, table):
        """Replace the labels of what was added.

        Args:
            table (ndarray): The new label of each.
        """
        file = self.files['label'].file
        file.flush()
        labels = np.memmap(file.name, np.int32, 'r+', _HEADER, (self.samples, ))
        for start in range(0, self.samples, 2**22):
            part = labels[start:start + 2**22]
            part[:] = np.where(part < 0, -1, np.asarray(table)[np.maximum(part, 0)])
        labels.flush()

    def finish(self, classes=None, targets=None, **facts):
        """Put the index in its place.

        Args:
            targets (ndarray, optional): See ShardIndex.
            classes (Sequence[str], optional): Names of the classes.
            **facts: Plain values that go into index.json as well.
        """
        for file in self.files.values():
            file.close()
        if targets is not None:
            np.save(osp.join(self.temporary, 'targets.npy'), targets)
        if self.most < 0:
            os.remove(osp.join(self.temporary, 'label.npy'))
        shards = [shard._asdict() for shard in self.shards]
        found = dict(
            version=VERSION,
            samples=self.samples,
            labelled=self.most >= 0,
            num_classes=self.most + 1,
            columns=None if targets is None else targets.shape[1],
            classes=None if classes is None else list(classes),
            digest=hashlib.sha256(json.dumps(shards).encode()).hexdigest()[:32],
            arrays={
                name: os.path.getsize(osp.join(self.temporary, name))
                for name in sorted(os.listdir(self.temporary)) if name != _LOCK
            },
            **facts,
            shards=shards)
        with atomic_write(osp.join(self.temporary, 'index.json')) as file:
            json.dump(found, file, indent=1)
        old = f'{self.folder}.old'
        shutil.rmtree(old, ignore_errors=True)
        if osp.isdir(self.folder):
            os.rename(self.folder, old)
        os.remove(osp.join(self.temporary, _LOCK))
        self._held.close()
        os.rename(self.temporary, self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def abandon(self):
        """Leave what was there as it was."""
        for file in self.files.values():
            with contextlib.suppress(OSError):  # the disk is full
                file.file.close()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self._held.close()


def check_shards(folder, shards):
    """See that all shards are there, with the bytes that they had when they were indexed.

    Args:
        folder (str | Path): Where they lie.
        shards (Sequence[Shard]): What the index says of them.

    Raises:
        FileNotFoundError: One is absent.
        ConfigError: One has other bytes.
    """
    for shard in shards:
        path = osp.join(folder, shard.name)
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            raise FileNotFoundError(f'the index names a shard that is not there: {osp.abspath(path)}') from None
        if size != shard.bytes:
            raise ConfigError(changed(path, f'it has {size} bytes, and had {shard.bytes}'))


def changed(path, how):
    """Words on a shard that is not the one that was indexed."""
    return (
        f'{path} is not the shard that was indexed: {how}. It is cut off or damaged, or the index is of another set; '
        f'"python tools/data_converters/index_shards.py {shlex.quote(osp.dirname(path) or ".")}" indexes what is there')


def check_label(value, place):
    """A class id as the index keeps it.

    Raises:
        ConfigError: It is no integer from -1 to 2^31 - 1.
    """
    check_integer(value, f'the label of {place}', -1)
    if value >= 2**31:
        raise ConfigError(f'{place}: class ids are 0 to {2**31 - 1}, and -1 for an image without one; got {value}')
    return value
