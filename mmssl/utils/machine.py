# Copyright (c) mmssl contributors. All rights reserved.
"""Cores and memory that this process may use, within the limits of a container. Imports nothing heavy."""
import os
from pathlib import Path


def usable_cores():
    """int: Cores that this process may use: those of its affinity, and what the container's limit allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    quota = read_text('/sys/fs/cgroup/cpu.max').split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def memory():
    """tuple[int, int]: Bytes of memory, and how many of them are free, within the container's limit."""
    found = dict(line.split(':') for line in read_text('/proc/meminfo').splitlines() if ':' in line)
    if found:
        total, available = (int(found[name].split()[0]) * 1024 for name in ('MemTotal', 'MemAvailable'))
    else:  # macOS
        total = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
        available = total
    limit, used = (read_text(f'/sys/fs/cgroup/memory.{name}').strip() for name in ('max', 'current'))
    if limit.isdigit():
        total = min(total, int(limit))
        available = min(available, total - int(used or 0))
    return total, max(0, available)


def read_text(path):
    """str: What is in a file of the system; '' where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ''
