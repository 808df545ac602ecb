# Copyright (c) mmssl contributors. All rights reserved.
"""Locks on files, between the processes of a machine; run_dir.py has the one of a work_dir, which lasts to the end."""
import contextlib


@contextlib.contextmanager
def locked(handle, wait=True):
    """Hold the lock of an open file, which the system frees when its holder ends, however it does.

    Args:
        handle (int): File descriptor.
        wait (bool): Until another holder is done.

    Yields:
        bool: Whether it is held; always with `wait`.
    """
    import fcntl  # not there on all systems
    held = False
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        yield held
    finally:
        if held:  # a process that was forked meanwhile has the file open as well: to close it does not suffice
            fcntl.flock(handle, fcntl.LOCK_UN)
