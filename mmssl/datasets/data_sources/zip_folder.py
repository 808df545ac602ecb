# Copyright (c) mmssl contributors. All rights reserved.
"""Zip archives that are read as if they were folders."""
import hashlib
import os
import os.path as osp
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from mmap import ACCESS_READ, mmap

import numpy as np

from mmssl.utils.errors import BrokenImageError, ConfigError

_LARGEST = 2**31  # bytes of a member: no image file is larger
_ENCRYPTED = 1  # bit of the flags of a member
_ODD = re.compile(r'(^|/)\.{0,2}(/|$)')
_LOCAL_HEADER = struct.Struct('<4s22xHH')  # signature, lengths of the name and of the extra field


@dataclass(frozen=True)
class ZipEntry:
    """A file or folder in an archive, as os.DirEntry.

    Args:
        name (str): Of it.
        path (str): Archive, and the way in it.
        folder (bool): Whether it is one.
    """
    name: str
    path: str
    folder: bool

    def is_dir(self):
        return self.folder

    def is_file(self):
        return not self.folder

    def is_symlink(self):
        return False


def find_archive(path):
    """The archive that a path leads into.

    Args:
        path (str | None): Such as 'photos.zip' or 'photos.zip/train/cat'.

    Returns:
        tuple[ZipFolder | None, str]: The archive and the way in it; None and '' where no part of the path is a .zip
            file.

    Raises:
        ConfigError: The file is no whole zip archive.
    """
    if path is None or '.zip' not in path.lower():
        return None, ''
    outer, inner = path.rstrip('/'), ''
    while outer and not osp.exists(outer):
        outer, _, name = outer.rstrip('/').rpartition('/')
        inner = osp.join(name, inner)
    if not outer.lower().endswith('.zip') or not osp.isfile(outer):
        return None, ''
    state = os.stat(outer)
    return _open(osp.abspath(outer), state.st_size, state.st_mtime_ns), inner.rstrip('/')


def is_folder(path):
    """Whether a path is a folder, or a zip archive or something in one, which is read as such."""
    return osp.isdir(path) or find_archive(os.fspath(path))[0] is not None


@lru_cache(maxsize=8)
def _open(path, size, changed):
    """The archive; a file that has changed is another one."""
    return ZipFolder(path)


def _cleaned(name):
    """The name of a member as a path in the archive, without what would lead out of it or nowhere."""
    return '/'.join(part for part in name.split('/') if part not in ('', '.', '..')) if _ODD.search(name) else name


def _digests(names):
    """uint64 numbers that stand for names."""
    digest = b''.join(hashlib.blake2b(os.fsencode(name), digest_size=8).digest() for name in names)
    return np.frombuffer(digest, np.uint64)


class ZipFolder:
    """A zip archive: its table of contents is read once, and kept with 37 bytes a member; members are read from a
    memory map, in any order, by any number of threads and of processes forked from this one.

    Members may be stored or deflated. Each is checked against its CRC-32, and never unpacks to more than it says.

    Args:
        path (str): The file.

    Raises:
        ConfigError: It is no whole zip archive.
    """

    def __init__(self, path):
        self.path = path
        self._map = self._tree = None
        try:
            with zipfile.ZipFile(path) as file:
                members = [m for m in file.infolist() if not m.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, struct.error) as error:
            raise ConfigError(f'{path} is no whole zip archive: {error}') from error
        members = {_cleaned(m.filename): m for m in members}  # of several of one name the last counts
        keys = _digests(members)
        members = list(members.values())
        order = np.argsort(keys, kind='stable')
        self._keys = keys[order]

        def column(values, dtype):
            return np.fromiter(values, dtype, len(members))[order]

        self._offsets = column((m.header_offset for m in members), np.uint64)
        self._packed = column((m.compress_size for m in members), np.uint64)
        self._sizes = column((m.file_size for m in members), np.uint64)
        self._checks = column((m.CRC for m in members), np.uint32)
        self._methods = column((255 if m.flag_bits & _ENCRYPTED else min(m.compress_type, 254) for m in members),
                               np.uint8)

    def __getstate__(self):
        return {**self.__dict__, '_map': None, '_tree': None}

    def __len__(self):
        return len(self._keys)

    def _names(self):
        """Names of all members, in the order of the file; they are not kept."""
        with zipfile.ZipFile(self.path) as file:
            return [_cleaned(m.filename) for m in file.infolist() if not m.is_dir()]

    def entries(self, folder=''):
        """What lies in a folder; of what macOS adds to archives nothing does.

        Args:
            folder (str): The way to it in the archive.

        Returns:
            list[ZipEntry]: Files and folders.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        if self._tree is None:
            self._tree = {'': (set(), set())}
            for name in self._names():
                if not name.startswith('__MACOSX/'):
                    parent, _, own = name.rpartition('/')
                    self._folder(parent)[0].add(own)
        folder = folder.strip('/')
        if folder not in self._tree:
            raise FileNotFoundError(f'no such folder: {folder} in the archive {self.path}')
        files, folders = self._tree[folder]
        here = osp.join(self.path, folder)
        return [ZipEntry(name, osp.join(here, name), name in folders) for name in sorted(files | folders)]

    def _folder(self, path):
        """Files and folders in a folder, which is entered in those above it."""
        if path not in self._tree:
            self._tree[path] = set(), set()
            parent, _, own = path.rpartition('/')
            self._folder(parent)[1].add(own)
        return self._tree[path]

    def forget_tree(self):
        """Free the memory that the names took while they were listed."""
        self._tree = None

    def _place(self, name):
        """Number of a member in the tables, None where there is no such one."""
        key = _digests([name])[0]
        place = int(np.searchsorted(self._keys, key))
        return place if place < len(self._keys) and self._keys[place] == key else None

    def __contains__(self, name):
        return self._place(name) is not None

    def read(self, name):
        """A member, unpacked.

        Args:
            name (str): The way to it in the archive.

        Returns:
            bytes: Its content.

        Raises:
            BrokenImageError: There is no such member, or it is damaged, encrypted or compressed by a rare method.
        """
        place = self._place(name)
        if place is None:
            raise BrokenImageError(f'{self.path}/{name}', 'there is no such member in the archive')
        try:
            content = self._unpack(place)
            if zlib.crc32(content) != self._checks[place]:
                raise ValueError('its check sum is another one than the archive says')
        except (ValueError, OSError, struct.error, zlib.error) as error:
            raise BrokenImageError(f'{self.path}/{name}', f'the member is damaged: {error}') from error
        return content

    def _unpack(self, place):
        if self._map is None:
            with open(self.path, 'rb') as file:
                self._map = mmap(file.fileno(), 0, access=ACCESS_READ)
        offset, packed, size = int(self._offsets[place]), int(self._packed[place]), int(self._sizes[place])
        signature, name, extra = _LOCAL_HEADER.unpack_from(self._map, offset)
        if signature != b'PK\x03\x04':
            raise ValueError('there is no header where the table of contents says')
        start = offset + _LOCAL_HEADER.size + name + extra
        data, method = self._map[start:start + packed], self._methods[place]
        if len(data) < packed:
            raise ValueError('the archive ends before it')
        if size > _LARGEST:
            raise ValueError(f'it says that it unpacks to {size} bytes')
        if method == zipfile.ZIP_STORED:
            return data
        if method != zipfile.ZIP_DEFLATED:
            raise ValueError('it is encrypted' if method == 255 else f'it is compressed by method {method}: members '
                             'are stored or deflated')
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        if len(content) != size:
            raise ValueError(f'it unpacks to {"more than " * (len(content) > size)}{min(size, len(content))} bytes, '
                             f'and says {size}')
        return content
