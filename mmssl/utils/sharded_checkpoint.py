# Copyright (c) mmssl contributors. All rights reserved.
"""Checkpoints as folders NAME.dcp, into which each process writes its parts of the sharded tensors.

The parts are those of torch.distributed.checkpoint; all else, which is equal on the processes, stands in meta.pth, with
the keys of the sharded tensors in their places. A folder has its name only when all of it is on the disk.
"""
import ctypes
import os
import shutil
import warnings
from pathlib import Path

import torch

from .misc import disk_full, full_disk_told
from .sharded import convert, convert_tensors, is_sharded

META = 'meta.pth'
SUFFIX = '.dcp'
_MARK = '__sharded__'


def is_folder_checkpoint(path):
    """Whether a path is that of a complete folder of this kind."""
    return Path(path, META).is_file() and Path(path, '.metadata').is_file()


def split(checkpoint):
    """The sharded tensors of a checkpoint by their places, and the rest.

    Args:
        checkpoint (dict): Nested dicts and lists.

    Returns:
        tuple[dict[str, DTensor], dict]: Names such as 'state_dict/backbone.conv1.weight', and a checkpoint in which
        dict(__sharded__=name) stands for each.
    """
    found = {}

    def mark(value, place):
        if not is_sharded(value):
            return value
        found[place] = value.detach()
        return {_MARK: place}

    return found, convert(checkpoint, mark)


def join(value, tensors):
    """The checkpoint that `split` has divided, with the tensors of these names."""
    if isinstance(value, dict):
        for key, entry in value.items():  # in place, as a state_dict has versions beside its weights
            value[key] = tensors[entry[_MARK]] if isinstance(entry, dict) and _MARK in entry else join(entry, tensors)
        return value
    if isinstance(value, list):
        return [
            tensors[entry[_MARK]] if isinstance(entry, dict) and _MARK in entry else join(entry, tensors)
            for entry in value
        ]
    return value


def read_folder(path, read_file, like=None):
    """What a folder holds, as the usual single file has it.

    Args:
        path (str | Path): The folder.
        read_file (callable): Reads meta.pth: read_checkpoint.
        like (callable, optional): Gives a sharded tensor for a name, of which the same parts are to be read, or None.
            A collective call then. By default tensors are whole, and no process group is needed.

    Returns:
        dict: The checkpoint.
    """
    import torch.distributed.checkpoint as dcp
    reader = dcp.FileSystemReader(str(path))
    tensors = {}
    for name, entry in reader.read_metadata().state_dict_metadata.items():
        template = like(name) if like is not None else None
        if template is not None and template.shape == entry.size:
            tensors[name] = torch.empty_like(template, dtype=entry.properties.dtype)
        else:
            tensors[name] = torch.empty(entry.size, dtype=entry.properties.dtype)
    if tensors:
        with warnings.catch_warnings():  # of a process alone
            warnings.filterwarnings('ignore', 'torch.distributed is disabled')
            dcp.load(tensors, storage_reader=reader, no_dist=like is None)
    return join(read_file(Path(path, META)), tensors)


def write_parts(tensors, folder, group=None):
    """Write the sharded tensors, each process its parts. A collective call, also of processes on other machines.

    Args:
        tensors (dict[str, DTensor]): See split.
        folder (Path): Of the same name for all.
        group (ProcessGroup, optional): Over which processes agree on who writes what.

    Raises:
        Exception: Of any process, on all: an OSError where a disk is full.
    """
    import torch.distributed.checkpoint as dcp
    path = folder.with_suffix('').with_suffix('')  # see temporary_folder

    class Writer(dcp.FileSystemWriter):
        """Raises the error of a full disk itself: a cause does not come to other processes."""

        def write_data(self, plan, planner):
            with full_disk_told(path):
                return super().write_data(plan, planner)

        def finish(self, metadata, results):
            with full_disk_told(path):
                super().finish(metadata, results)

    try:
        dcp.save(tensors, storage_writer=Writer(str(folder)), process_group=group)
    except dcp.api.CheckpointException as error:  # no Exception, with the errors of all processes
        errors = [failure for failure, _ in error.failures.values()]
        raise next((failure for failure in errors if disk_full(failure)), errors[0]) from error


def temporary_folder(path, number):
    """Where a folder is written until it is complete; see mmssl.utils.misc.TEMPORARY.

    Args:
        path (Path): Its name in the end.
        number (int): Of the writing process, the same on all.
    """
    return path.with_name(f'{path.name}.{number}.tmp')


def finish_folder(folder, path, sync):
    """Give a complete folder its name, in the place of one that has the name already.

    Args:
        folder (Path): See temporary_folder.
        path (Path): The name.
        sync (callable): Puts the entries of a folder on the disk.
    """
    sync(folder)
    old = None
    if path.exists() and _exchange(folder, path):
        old = folder
    else:
        if path.exists():
            old = temporary_folder(path.with_name(f'old_{path.name}'), os.getpid())
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)  # a kill before the next line leaves none with the name
        os.replace(folder, path)
    sync(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one, other):
    """Give two folders each other's name in one step; returns whether the system and the file system can."""
    try:
        return ctypes.CDLL(None).renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0  # RENAME_EXCHANGE
    except (AttributeError, OSError, TypeError):  # not Linux
        return False


def host_copy(value):
    """Nested dicts and lists with copies of all tensors in the memory of the host, of sharded ones the local parts."""

    def copy(tensor):
        if not is_sharded(tensor):
            return tensor.detach().to('cpu', copy=True)
        from torch.distributed.tensor import DTensor
        part = tensor.to_local().detach().to('cpu', copy=True)
        return DTensor(part, tensor._spec, requires_grad=False)  # from_local would bring it back to the device

    return convert_tensors(value, copy)
