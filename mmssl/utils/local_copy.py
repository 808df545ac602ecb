# Copyright (c) mmssl contributors. All rights reserved.
"""Copies of data on a disk near the compute: made in parallel, once a node, and used when they are complete."""
import contextlib
import ctypes
import errno
import hashlib
import json
import os
import os.path as osp
import shutil
import threading
import time

from .errors import ConfigError, printable
from .locks import locked
from .misc import write_json

_MARKER = 'complete.json'
_PART = '.~copying'  # end of the names of files that are being written
_REPORT = 10  # seconds between two reports


class LocalCopy:
    """The place of a copy: FOLDER/DIGEST/NAME, with the marker and the lock beside it.

    The digest is that of the path of the source, so that the folders `train` of two data sets do not meet.

    Args:
        source (str | Path): A folder or a file.
        folder (str | Path): Of all copies, such as that of a Slurm job; variables as in '$SLURM_TMPDIR' are looked up.

    Attributes:
        path (str): Of the copy.

    Raises:
        ConfigError: A variable is not set, the source is a place on a server, or the folder lies in the source.
    """

    def __init__(self, source, folder):
        source, named = os.fspath(source), os.fspath(folder)
        if '://' in source:
            raise ConfigError(f'what lies on this machine or a mounted disk can be copied to {named}, not {source}')
        folder = osp.expanduser(osp.expandvars(named))
        if '$' in folder:
            raise ConfigError(f'copies are to lie in {named}, and there is no such variable in the environment')
        if not folder:
            raise ConfigError(f'copies are to lie in {named!r}, which names no folder')
        self.source = osp.abspath(osp.expanduser(source))
        digest = hashlib.sha256(os.fsencode(self.source)).hexdigest()[:12]
        self.place = osp.join(osp.abspath(folder), digest)
        self.path = osp.join(self.place, osp.basename(self.source) or 'data')
        if osp.join(osp.realpath(self.place), '').startswith(osp.join(osp.realpath(self.source), '')):
            raise ConfigError(f'copies of {self.source} cannot lie in it, in {folder}')

    def complete(self):
        """dict | None: What the marker says: source, files and bytes; None where the copy is not complete."""
        try:
            with open(osp.join(self.place, _MARKER), encoding='utf-8') as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError):
            return None
        there = isinstance(found, dict) and found.get('source') == printable(self.source) and osp.exists(self.path)
        return found if there else None

    @contextlib.contextmanager
    def locked(self, tell):
        """Hold the lock of this copy; where another process has it, say so and wait."""
        os.makedirs(self.place, exist_ok=True)
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(open(osp.join(self.place, 'lock'), 'a+'))
            if not stack.enter_context(locked(lock.fileno(), wait=False)):
                lock.seek(0)
                tell(f'{lock.read().strip() or "another process"} copies {printable(self.source)} to '
                     f'{printable(self.place)}: waiting for it')
                stack.enter_context(locked(lock.fileno()))
            lock.seek(0)
            lock.truncate()
            lock.write(f'process {os.getpid()}\n')
            lock.flush()
            yield


def get_local_path(source, folder):
    """Where to read from.

    Args:
        source (str | Path): A folder or a file.
        folder (str | Path): Of copies; see LocalCopy.

    Returns:
        str: The copy, if it is complete, else `source`.
    """
    copy = LocalCopy(source, folder)
    return copy.path if copy.complete() else os.fspath(source)


def copy_to_local(source, folder, workers=40, refresh=False, tell=print):
    """Copy a folder, with all that is in it, or a file, unless a complete copy is there.

    Each file gets its name when it is whole, and the marker is written when all are there and on the disk: after a kill
    at any moment the next call goes on with the files that are missing. Of several processes on one machine
    one copies, and the others wait. Links are followed.

    Args:
        source (str | Path): A folder or a file.
        folder (str | Path): Of copies; see LocalCopy.
        workers (int): Threads.
        refresh (bool): Look again what has changed at the source since, and take away what is not there any more.
        tell (callable): Gets lines of text.

    Returns:
        str: Path of the copy.

    Raises:
        FileNotFoundError: There is no such source, or a file has gone.
        OSError: The disk is full, or a file cannot be read, or is of another size than what arrived.
    """
    if not isinstance(workers, int) or workers < 1:
        raise ConfigError(f'workers must be 1 or more, got {workers!r}')
    copy = LocalCopy(source, folder)
    if not copy.complete() or refresh:
        if not osp.exists(copy.source):
            raise FileNotFoundError(f'no such folder or file: {copy.source}')
        with copy.locked(tell):
            if not copy.complete() or refresh:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(osp.join(copy.place, _MARKER))
                _Copying(copy, workers, tell).run()
    return copy.path


def _sync_disk(folder):
    """Have all that was written to the disk of a folder there, safe from a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        getattr(ctypes.CDLL(None), 'syncfs', os.fsync)(handle)  # of Linux; os.sync waits for all other disks as well
    finally:
        os.close(handle)


def find_files(root, below='', _above=()):
    """Yield the paths, relative to `root`, of all files below a folder, those behind links among them.

    Raises:
        OSError: A folder cannot be read.
    """
    here = osp.join(root, below)
    above = (*_above, osp.realpath(here))
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            path = osp.join(below, entry.name)
            if not entry.is_dir():
                yield path
            elif not entry.is_symlink() or osp.realpath(entry.path) not in above:
                folders.append(path)
    for path in folders:
        yield from find_files(root, path, above)


class _Copying:
    """One run of threads that copy files.

    Args:
        copy (LocalCopy): From where to where.
        workers (int): Threads.
        tell (callable): Gets lines of text.
    """

    def __init__(self, copy, workers, tell):
        self.copy = copy
        self.workers = workers
        self.tell = tell
        self.files = self.bytes = self.copied = self.copied_bytes = 0
        self._folders, self._error, self._lock = set(), None, threading.Lock()

    def run(self):
        is_folder = osp.isdir(self.copy.source)
        if is_folder:
            os.makedirs(self.copy.path, exist_ok=True)
        self._names = find_files(self.copy.source) if is_folder else iter([''])
        start = time.monotonic()
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        try:
            reported = start
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
                    if time.monotonic() - reported > _REPORT:
                        reported = time.monotonic()
                        self._report('so far', reported - start)
        except BaseException as error:  # Ctrl-C
            self._error = self._error or error
            for thread in threads:
                thread.join()
            raise
        if self._error is not None:
            raise self._error
        if not self.files:
            raise ConfigError(f'there are no files in {self.copy.source}')
        if is_folder:
            self._remove_others()
        _sync_disk(self.copy.place)  # the marker must not be there before the files are
        write_json(
            osp.join(self.copy.place, _MARKER),
            dict(source=printable(self.copy.source), files=self.files, bytes=self.bytes))
        self._report('complete', time.monotonic() - start)

    def _report(self, what, seconds):
        self.tell(f'{printable(self.copy.path)}: {what} {self.files} files, {self.bytes / 1e6:.1f} MB, of which '
                  f'{self.copied} were copied now ({self.copied_bytes / 1e6 / max(seconds, 1e-3):.0f} MB/s)')

    def _work(self):
        while self._error is None:
            try:
                with self._lock:
                    name = next(self._names, None)
                if name is None:
                    return
                size, copied = self._copy_file(name)
            except BaseException as error:
                self._error = self._error or error
                return
            with self._lock:
                self.files += 1
                self.bytes += size
                self.copied += copied
                self.copied_bytes += size * copied

    def _copy_file(self, name):
        """Copy one file unless it is there; returns its size and whether it was copied."""
        source = osp.join(self.copy.source, name) if name else self.copy.source
        target = osp.join(self.copy.path, name) if name else self.copy.path
        state = os.stat(source)
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(target)
            if (there.st_size, there.st_mtime_ns) == (state.st_size, state.st_mtime_ns):
                return state.st_size, False
        parent = osp.dirname(target)
        if parent not in self._folders:
            os.makedirs(parent, exist_ok=True)
            self._folders.add(parent)
        part = target + _PART
        try:
            shutil.copyfile(source, part)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = shutil.disk_usage(self.copy.place).free / 1e6
            raise OSError(
                error.errno, f'{self.copy.place} has no room for {source}: {free:.0f} MB free, '
                f'{state.st_size / 1e6:.0f} MB needed, {self.bytes / 1e6:.0f} MB of this copy are there') from error
        arrived = os.stat(part).st_size
        if arrived != state.st_size:
            raise OSError(errno.EIO, f'{source} has {state.st_size} bytes, and {arrived} arrived: it is being written')
        os.utime(part, ns=(state.st_atime_ns, state.st_mtime_ns))
        os.replace(part, target)
        return state.st_size, True

    def _remove_others(self):
        """Take away files of an earlier copy that the source has not any more, or that were never finished."""
        names = list(find_files(self.copy.path))
        if len(names) > self.files:
            for name in names:
                if not osp.exists(osp.join(self.copy.source, name)):
                    os.unlink(osp.join(self.copy.path, name))
