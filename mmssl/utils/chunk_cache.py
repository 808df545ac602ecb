# Copyright (c) mmssl contributors. All rights reserved.
"""Pieces of remote files on the local disk, within a bound, shared by all processes of a node."""
import contextlib
import hashlib
import logging
import os
import os.path as osp
import shutil
import struct
import tempfile
import time

from .errors import ConfigError, printable
from .locks import locked
from .misc import TEMPORARY, atomic_write

_RESERVE = 2**30  # bytes that the cache leaves free on the disk for everyone else, such as checkpoints
_SHARE_KEPT = 0.9  # what is left after the oldest chunks are removed, so that this is not done for each new one
_ABANDONED = 600  # seconds after which an unfinished file is one of a process that was killed


def default_folder():
    """str: Of this user, below $TMPDIR (or /tmp), which is a disk of the node itself in most clusters."""
    return osp.join(tempfile.gettempdir(), f'mmssl-cache-{os.getuid()}')


class ChunkCache:
    """Files of a few MB in a folder; the ones that were not used for longest make way.

    Every process reads and writes by itself. A chunk appears under its name only when it is complete, one process at a
    time fetches it (`hold`), and what a killed one leaves behind is swept.

    Args:
        folder (str): On a disk of this node. It belongs to this user alone.
        limit (int): Bytes that all chunks in it may take, those of other sets included.

    Attributes:
        full (bool): Nothing more can be written: the disk is full. Said once.
    """

    def __init__(self, folder, limit):
        self.folder, self.limit, self.full = osp.abspath(osp.expanduser(folder)), int(limit), False
        try:
            os.makedirs(osp.join(self.folder, 'locks'), 0o700, exist_ok=True)
            if os.stat(self.folder).st_uid != os.getuid():
                raise ConfigError(f'cache_dir {printable(self.folder)} belongs to another user; name one of your own')
            self.trim()
        except OSError as error:
            raise ConfigError(
                f'cache_dir {printable(self.folder)} cannot be made or written: {error.strerror}') from error

    def path(self, name):
        return osp.join(self.folder, name)

    def read(self, name, length, start, stop):
        """Bytes of a chunk.

        Args:
            name (str): Of the chunk.
            length (int): Of the whole chunk; one of another length is none.
            start (int): First byte.
            stop (int): The byte behind the last one.

        Returns:
            bytes | None: None where it is not there.
        """
        try:
            handle = os.open(self.path(name), os.O_RDONLY)
        except OSError:
            return None
        try:
            state = os.fstat(handle)
            if state.st_size != length:
                return None
            os.utime(handle)  # used last: a set that is larger than the cache goes through it in minutes
            data = os.pread(handle, stop - start, start)
            return data if len(data) == stop - start else None
        except OSError:  # the disk is at fault; the server has it as well
            return None
        finally:
            os.close(handle)

    def has(self, name, length):
        """Whether a chunk is there, which then counts as just used."""
        return self.read(name, length, 0, 0) is not None

    @contextlib.contextmanager
    def hold(self, name, wait=True):
        """Keep other processes and threads from fetching the same chunk.

        Args:
            name (str): Of the chunk.
            wait (bool): Until another one is done.

        Yields:
            bool: Whether it is held; always with `wait`.
        """
        file = hashlib.sha256(name.encode()).hexdigest()[:32]
        while True:
            handle = None
            with contextlib.suppress(OSError):
                handle = self._open_lock(file)
            if handle is None:  # the disk is at fault: `write` tells, and others may do the same work meanwhile
                yield True
                return
            try:
                with locked(handle, wait) as held:
                    if held and not self._is_there(file, handle):  # its holder was just done with it
                        continue
                    try:
                        yield held
                    finally:
                        if held:
                            with contextlib.suppress(OSError):
                                os.unlink(osp.join(self.folder, 'locks', file))
                    return
            finally:
                os.close(handle)

    def _is_there(self, name, handle):
        try:
            return os.stat(osp.join(self.folder, 'locks', name)).st_ino == os.fstat(handle).st_ino
        except OSError:
            return False

    def _open_lock(self, name):
        path = osp.join(self.folder, 'locks', name)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # the cache was deleted under way
            os.makedirs(osp.dirname(path), 0o700, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, name, data):
        """Keep a chunk, where there is room.

        Args:
            name (str): Of the chunk; a folder in it is made.
            data (bytes): The chunk.

        Returns:
            bool: Whether it is kept.
        """
        if self.full:
            return False
        try:
            with atomic_write(self.path(name), 'wb') as file:
                self._take_room(file, len(data))
                file.write(data)
        except OSError as error:
            told, self.full = self.full, True
            if not told:  # by another thread
                logging.getLogger('mmssl.data').warning(
                    'nothing more is kept in cache_dir %s: %s. The training goes on, and asks the server for every '
                    'image', printable(self.folder), error)
            return False
        return True

    def _free(self):
        return shutil.disk_usage(self.folder).free - min(_RESERVE, self.limit)

    @contextlib.contextmanager
    def _usage(self):
        """The file with the number of bytes that chunks take, locked."""
        with open(self._open_lock('usage'), 'r+b') as file, locked(file.fileno()):
            yield file

    def _take_room(self, file, size):
        """Have room for a file that is being written; from now on it counts, whoever counts."""
        with self._usage() as usage:
            file.truncate(size)
            usage.seek(0)
            stored = usage.read(8)
            total = size + (struct.unpack('<q', stored)[0] if len(stored) == 8 else 0)
            _store(usage, total)
            if total > self.limit or self._free() < size:
                self._trim(usage)
        if self._free() < size:
            raise OSError(f'less than {_RESERVE / 2**30:.0f} GiB would be left free')

    def trim(self):
        """Count anew what is there, and remove what was not used for longest where that is more than the limit."""
        with self._usage() as usage:
            self._trim(usage)

    def _trim(self, usage):
        chunks, coming = [], 0
        for entry in self._entries():
            with contextlib.suppress(OSError):  # another process has removed it
                state = entry.stat()
                if entry.name.endswith('.chunk'):
                    chunks.append((state.st_mtime_ns, state.st_size, entry.path))
                elif TEMPORARY.search(entry.name):
                    if time.time() - state.st_mtime > _ABANDONED:
                        os.unlink(entry.path)
                    else:
                        coming += state.st_size
        stored = sum(size for _, size, _ in chunks)
        total, limit = stored + coming, min(self.limit, stored + self._free())
        if total > limit:
            for _, size, path in sorted(chunks):
                if total <= _SHARE_KEPT * limit:
                    break
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    total -= size
        _store(usage, total)

    def _entries(self):
        for folder in os.scandir(self.folder):
            if folder.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError), os.scandir(folder.path) as entries:
                    yield from entries


def _store(file, total):
    file.seek(0)
    file.truncate()
    file.write(struct.pack('<q', total))
    file.flush()
