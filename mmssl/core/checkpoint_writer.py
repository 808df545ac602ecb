# Copyright (c) mmssl contributors. All rights reserved.
"""A checkpoint on its way to the disk: whole or by the parts of processes, at once or beside the training."""
import os
import shutil
import threading

from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.dist import background_group, barrier, broadcast_object, get_rank
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_symlink, sync_folder
from mmssl.utils.sharded import whole
from mmssl.utils.sharded_checkpoint import META, SUFFIX, finish_folder, host_copy, split, temporary_folder, write_parts


class PendingWrite:
    """A function that runs in a thread of its own. The interpreter does not end before it.

    Args:
        work (callable): Without arguments.
    """

    def __init__(self, work):
        self._error, self._told = None, False
        self._thread = threading.Thread(target=self._run, args=(work, ), name='checkpoint')
        self._thread.start()

    def _run(self, work):
        try:
            work()
        except BaseException as error:  # which wait() raises where it is seen
            self._error = error

    def done(self):
        """Whether it has come to its end, without a fault."""
        return not self._thread.is_alive() and self._error is None

    def wait(self):
        """Wait for its end.

        Raises:
            BaseException: What has stopped it, once.
        """
        self._thread.join()
        if self._error is not None and not self._told:
            self._told = True
            raise self._error


def write_checkpoint(checkpoint, path, link=False, sharded=False, asynchronous=False):
    """Write a checkpoint. A collective call.

    Args:
        checkpoint (dict): Of each process; rank 0 writes what is not sharded.
        path (Path): The file. With `sharded` the folder NAME.dcp stands in its place, see
            mmssl.utils.sharded_checkpoint.
        link (bool): Whether `latest.pth`, or `latest.dcp`, beside it shall lead to it.
        sharded (bool): Whether each process writes its parts of the sharded tensors.
        asynchronous (bool): Whether to take a copy in the memory of the host and write that beside the training.

    Returns:
        PendingWrite | None: With `asynchronous`; until it is done the training must not end. None: it is on the disk.

    Raises:
        ConfigError: Nothing is sharded that could be written by parts.
    """
    first = get_rank() == 0
    if sharded:
        work = _by_parts(checkpoint, path.with_suffix(SUFFIX), link, asynchronous, first)
    else:
        checkpoint = whole(checkpoint, first)
        if asynchronous and first:
            checkpoint = host_copy(checkpoint)

        def work():
            if first:
                save_checkpoint(checkpoint, path)
                if link:
                    atomic_symlink(path.name, path.parent / 'latest.pth')

    if asynchronous:
        return PendingWrite(_together(work))
    work()
    return None


def _together(work):
    """The work of a thread, whose end on any process is that on all."""
    group = background_group()

    def both():
        try:
            work()
        finally:
            barrier(group)

    return both


def check_divided(lacking):
    """Refuse to write by parts where none are.

    Raises:
        ConfigError: Nothing is divided among processes.
    """
    if lacking:
        raise ConfigError("checkpoint_config.sharded=True writes what sharding=dict(type='fsdp') divides among several "
                          'processes, and here nothing is divided so: leave it out')


def _by_parts(checkpoint, path, link, asynchronous, first):
    parts, rest = split(checkpoint)
    check_divided(not parts)
    if asynchronous:
        parts, rest = host_copy(parts), host_copy(rest) if first else None
    folder = temporary_folder(path, broadcast_object(os.getpid()))
    group = background_group() if asynchronous else None

    def finish():
        save_checkpoint(rest, folder / META)
        finish_folder(folder, path, sync_folder)
        if link:
            atomic_symlink(path.name, path.parent / f'latest{SUFFIX}')

    def work():
        error = None
        try:
            write_parts(parts, folder, group)
            if first:
                try:
                    finish()
                except Exception as failure:
                    error = failure
        finally:
            if first:
                shutil.rmtree(folder, ignore_errors=True)
        error = broadcast_object(error, group=group)  # else the others would wait for the first one in vain
        if error is not None:
            raise error

    return work
