# Copyright (c) mmssl contributors. All rights reserved.
"""Bytes out of tar shards on local disk, through one memory map a shard."""
import ctypes
import errno
import mmap
import os
import os.path as osp
from functools import lru_cache

from .errors import ConfigError
from .misc import ask_for_part
from .shard_index import changed, check_shards, shard_digest

MAX_MAPS = 16384  # of one process; Linux allows 65,530 by default, for everything
_POPULATE_READ = 22  # of madvise; the mmap module has no name for it
_FAILED = ctypes.c_void_p(-1).value


@lru_cache
def _c_library():
    """The C library: Python's own map keeps a file descriptor each before 3.13, and 10,000 shards need as many."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


class _Map:
    """A file in the address space, without a file descriptor."""

    def __init__(self, path, size):
        self.libc, self.size = _c_library(), size
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.start = self.libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
        finally:
            os.close(file)
        if self.start == _FAILED:
            self.start = None
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        # a sample's neighbours are not asked for next: reading ahead took ten times the bytes from a disk
        self.libc.madvise(self.start, size, mmap.MADV_RANDOM)

    def read(self, offset, size):
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f'bytes {offset} to {offset + size} of {self.size}')
        first = offset - offset % mmap.PAGESIZE
        part = self.start + first, offset + size - first
        # all pages in one request to the disk, instead of one each as they are touched
        self.libc.madvise(*part, mmap.MADV_WILLNEED)
        # a fault of the disk is told here, where touching the page would end the process; Linux can since 5.14
        if self.libc.madvise(*part, _POPULATE_READ) and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return ctypes.string_at(self.start + offset, size)

    def __del__(self):
        if getattr(self, 'start', None) is not None:
            self.libc.munmap(self.start, self.size)
            self.start = None


class LocalShards:
    """Reads from shards on disk. A shard is mapped when it is first read from, and keeps no file descriptor.

    Args:
        folder (str | Path): Where the shards lie.
        shards (Sequence[Shard]): What the index says of them; their sizes are compared here, digests at the first read.

    Raises:
        FileNotFoundError: See check_shards.
        ConfigError: See check_shards.
    """

    def __init__(self, folder, shards):
        self.folder, self.shards, self.maps = os.fspath(folder), shards, {}
        check_shards(folder, shards)

    def path(self, number):
        """str: The file of a shard."""
        return osp.join(self.folder, self.shards[number].name)

    def read(self, number, offset, size):
        """Bytes of a shard.

        Args:
            number (int): Of the shard, from 0.
            offset (int): Of the first byte.
            size (int): Number of bytes.

        Returns:
            bytes: Just so many.

        Raises:
            ConfigError: The shard is absent or not the one that was indexed.
        """
        found, path = self.maps.get(number), self.path(number)
        try:
            if found is None:
                found = self._open(number, path)
            length = os.stat(path).st_size
            if length != self.shards[number].bytes:
                raise ConfigError(changed(path, f'it has {length} bytes, and had {self.shards[number].bytes}'))
            return found.read(offset, size)
        except OSError as error:
            raise ConfigError(f'the shard {path} cannot be read: {error.strerror}') from error

    def _open(self, number, path):
        shard = self.shards[number]
        if os.stat(path).st_size != shard.bytes:
            raise ConfigError(changed(path, f'it has {os.stat(path).st_size} bytes, and had {shard.bytes}'))
        found = _Map(path, shard.bytes)
        if shard_digest(found.read, shard.bytes) != shard.digest:
            raise ConfigError(changed(path, 'its first or last 64 KiB are other ones'))
        while len(self.maps) >= MAX_MAPS:
            del self.maps[next(iter(self.maps))]
        self.maps[number] = found
        return found

    def will_read(self, number, offset, size):
        """Have the system fetch what will be read, without waiting for it; see read for the arguments."""
        ask_for_part(self.path(number), offset, size)

    def close(self):
        """Let go of all shards; the next read opens them anew."""
        self.maps.clear()

    def __getstate__(self):
        return {**self.__dict__, 'maps': {}}
