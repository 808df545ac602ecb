# Copyright (c) mmssl contributors. All rights reserved.
"""Processor time of a program with its loader processes."""
import os
from pathlib import Path


def cpu_seconds():
    """Processor time that this process and all below it have taken so far, of those that live and those that ended.

    Unlike a clock it leaves out what other programs take of the same cores.

    Returns:
        float: Seconds of one core, of the user and of the system. Without /proc, as on macOS, that of processes that
        live still is left out, but for this one.
    """
    own = sum(os.times()[:4])
    return own + sum(map(_of, _children(os.getpid())))


def _of(pid):
    try:
        # behind the name, which may hold anything: utime, stime, cutime and cstime are the fields 14 to 17
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:  # it has just ended
        return 0.
    return sum(map(int, fields[11:15])) / os.sysconf('SC_CLK_TCK') + sum(map(_of, _children(pid)))


def _children(pid):
    found = []
    for path in Path(f'/proc/{pid}/task').glob('*/children'):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            pass
    return found
