# Copyright (c) mmssl contributors. All rights reserved.
"""The folder of a run: one process writes there at a time. Imports nothing heavy."""
import contextlib
import errno
import os
import shutil
import socket
import time
from pathlib import Path

from .errors import ConfigError
from .launch import launches
from .misc import TEMPORARY, atomic_write

LOCK = '.run.lock'
_LAUNCHES = '.run.launches'
_OWNER = '.run.work_dir'
_held = {}
_made = {}  # what lock_folder has made for a lock: the lock, its folder, and those above it


def _let_go():
    """A forked worker that outlives its parent does not keep the lock."""
    for handle in _held.values():
        os.close(handle)
    _held.clear()


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(after_in_child=_let_go)


def checkpoint_folder(work_dir, out_dir=None):
    """Where the checkpoints of a run go.

    Args:
        work_dir (str | Path): The run's folder.
        out_dir (str, optional): Of checkpoint_config: a folder in which one with the name of the work_dir is made.

    Returns:
        Path: The folder.
    """
    return Path(out_dir, Path(work_dir).resolve().name) if out_dir else Path(work_dir)


def note_owner(checkpoints, work_dir):
    """Keep in a folder of checkpoints elsewhere whose they are; see check_owner."""
    if Path(checkpoints).resolve() != Path(work_dir).resolve():
        with atomic_write(Path(checkpoints, _OWNER)) as file:
            file.write(str(Path(work_dir).resolve()))


def check_owner(checkpoints, work_dir):
    """See that a folder of checkpoints is not that of a run in another work_dir of the same name.

    Raises:
        ConfigError: It is, and that work_dir is there.
    """
    note = Path(checkpoints, _OWNER)
    other = Path(note.read_text(encoding='utf-8')) if note.is_file() else None
    if other is not None and other.is_dir() and other != Path(work_dir).resolve():
        raise ConfigError(f'{checkpoints} has the checkpoints of the run in {other}: give another '
                          'checkpoint_config.out_dir, or a --work-dir of another name')


def note_launches(folder):
    """Keep in the folder of a run what has started it, where that may start it again; see begun_by_this_launch."""
    if launches():
        with atomic_write(Path(folder, _LAUNCHES)) as file:
            file.write('\n'.join(launches()))


def begun_by_this_launch(folder):
    """Whether torchrun or Slurm has started this process again, and the run in the folder is the one before."""
    again = [name for name, count in launches().items() if count > 0]
    try:
        noted = Path(folder, _LAUNCHES).read_text(encoding='utf-8').splitlines() if again else []
    except OSError:
        return False
    return any(name in noted for name in again)


def lock_folder(folder):
    """Hold a folder until this process ends, and remove what killed processes left half written in it.

    The system releases the lock with the process, however that ends; see folders_let_go for an earlier end. It holds
    over NFS where the server has locks.

    Args:
        folder (str | Path): Made where there is none.

    Returns:
        str | None: A warning where the file system has no locks.

    Raises:
        ConfigError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return f'this system has no locks, so another run that writes in {folder} is not noticed'
    path = Path(folder).resolve() / LOCK
    if path in _held:
        return None
    made = [part for part in (path, *path.parents) if not part.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    holder = os.read(handle, 1000).decode(errors='replace').strip()
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ConfigError(
                f'{folder} is in use by {holder or "another process"}: wait for its end, stop it, or give '
                'another --work-dir') from None
        return (
            f'the file system of {folder} has no locks ({os.strerror(error.errno)}), so another run that writes there '
            f'is not noticed; the last one was {holder or "unknown"}')
    _held[path], _made[path] = handle, made
    os.ftruncate(handle, 0)
    started = time.strftime('%Y-%m-%d %H:%M:%S')
    os.pwrite(handle, f'process {os.getpid()} on {socket.gethostname()}, started {started}\n'.encode(), 0)
    for file in path.parent.iterdir():
        if TEMPORARY.search(file.name):
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    return None


@contextlib.contextmanager
def folders_let_go():
    """Context at whose end the folders are free that were locked in it; those that hold nothing are gone.

    A notebook lives on after a training, which may go on elsewhere. A lock without words is that of a training which
    has come to its end, good or bad.
    """
    before = set(_held)
    try:
        yield
    finally:
        for path in set(_held) - before:
            handle, made = _held.pop(path), _made.pop(path)
            os.ftruncate(handle, 0)
            for part in made if [*path.parent.iterdir()] == [path] else ():
                try:
                    part.unlink() if part == path else part.rmdir()
                except OSError:  # a folder above it has got something else
                    break
            os.close(handle)
