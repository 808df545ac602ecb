# Copyright (c) mmssl contributors. All rights reserved.
"""Checkpoints: written atomically, read without running code from them, loaded with a count of what fitted."""
import argparse
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .errors import ConfigError, nearest
from .misc import TEMPORARY, atomic_write

# Harmless classes that checkpoints of other toolboxes hold besides tensors: numpy scalars (best scores), the
# arguments of the command line.
_SAFE = [np.dtype, np._core.multiarray.scalar, argparse.Namespace] if hasattr(np, '_core') else \
    [np.dtype, np.core.multiarray.scalar, argparse.Namespace]
_SAFE += [(_SAFE[1], 'numpy.core.multiarray.scalar'), (_SAFE[1], 'numpy._core.multiarray.scalar')]
_SAFE += [type(np.dtype(kind)) for kind in ('float16', 'float32', 'float64', 'int32', 'int64', 'bool')]
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile)


class CheckpointError(ConfigError):
    """A checkpoint that is torn, foreign or does not fit."""


class LoadReport(NamedTuple):
    """What load_weights did.

    Attributes:
        matched (list[str]): Keys that were loaded.
        missing (list[str]): Keys of the model that the checkpoint lacks; they keep their initial values.
        unexpected (list[str]): Keys of the checkpoint that the model lacks.
        mismatched (list[str]): Keys of both whose shapes differ; not loaded.
    """
    matched: list
    missing: list
    unexpected: list
    mismatched: list

    def __str__(self):
        return ', '.join(f'{len(keys)} {kind}' for kind, keys in zip(self._fields, self))


def save_checkpoint(checkpoint, path):
    """Write a checkpoint; at no moment is there half a file under its name.

    Args:
        checkpoint (dict): Of tensors, numbers, strings, lists and dicts only, so that read_checkpoint can read it.
        path (str | Path): The file.
    """
    with atomic_write(path, 'wb') as file:
        torch.save(checkpoint, file)


def read_checkpoint(path, map_location='cpu'):
    """Read a checkpoint of this or another toolbox. Code in it is never run.

    Args:
        path (str | Path): File; http(s) address, which is kept in torch's download folder; torchvision://NAME, such as
            torchvision://resnet50: the first ImageNet weights that torchvision published; open-mmlab://NAME or
            mmcls://NAME, by mmcv's lists.
        map_location: Device of the tensors.

    Returns:
        dict: What the file holds.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is torn, is no checkpoint, or holds objects other than tensors and plain values.
    """
    scheme, _, name = str(path).partition('://')
    if scheme in _ZOOS:
        path = _ZOOS[scheme](name)
    if str(path).startswith(('http://', 'https://')):
        folder = Path(torch.hub.get_dir()) / 'checkpoints'
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / str(path).rsplit('/', 1)[1]
        if not file.exists():
            torch.hub.download_url_to_file(str(path), str(file))
        path = file
    if not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch itself does not look at the check sums
                torn = archive.testzip()
            if torn:
                raise EOFError(f'the check sum of {torn} is wrong')
        with torch.serialization.safe_globals(_SAFE):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).partition('\n')[0] or 'it ends too early'
        foreign = isinstance(error, pickle.UnpicklingError) and re.search(r'GLOBAL ([\w.]+)', str(error))
        if foreign:
            reason = (f'holds an object of type {foreign[1]}, and loading it could run foreign code; convert it to a '
                      'dict of tensors where you trust it')
            raise CheckpointError(f'checkpoint {path} {reason}') from error
        raise CheckpointError(f'{path} is torn or no checkpoint: {reason}') from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, a checkpoint is a dict')
    return checkpoint


def _torchvision_address(name):
    """Where torchvision keeps its first weights of a network by that name."""
    from torchvision.models import get_model_weights
    try:
        return next(iter(get_model_weights(name))).url
    except ValueError as error:
        raise FileNotFoundError(f'checkpoint torchvision://{name} does not exist: {error}') from error


def _mmcls_address(name):
    from mmcv.runner import checkpoint as lists
    return _address('mmcls', name, lists.get_mmcls_models())


def _open_mmlab_address(name):
    from mmcv.runner import checkpoint as lists
    name = lists.get_deprecated_model_names().get(name, name)
    return _address('open-mmlab', name, lists.get_external_models())


def _address(zoo, name, addresses):
    if name not in addresses:
        raise FileNotFoundError(f'checkpoint {zoo}://{name} does not exist; {nearest(name, addresses, "names")}')
    return addresses[name]


_ZOOS = {'torchvision': _torchvision_address, 'mmcls': _mmcls_address, 'open-mmlab': _open_mmlab_address}


def get_state_dict(checkpoint):
    """The weights in a checkpoint.

    Args:
        checkpoint (dict): With the weights under 'state_dict' or 'model', or the weights themselves.

    Returns:
        dict[str, Tensor]: Without the prefix 'module.' that wrapped models leave.

    Raises:
        CheckpointError: There are no tensors.
    """
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    weights = {key: value for key, value in checkpoint.items() if isinstance(value, torch.Tensor)}
    if not weights:
        raise CheckpointError(f'no weights among the keys {list(checkpoint)[:10]}')
    return {key.removeprefix('module.'): value for key, value in weights.items()}


def load_weights(model, path_or_state_dict, prefix='', strict=False, logger=None):
    """Load weights into a model and say how much fitted.

    Args:
        model (nn.Module): Changed in place.
        path_or_state_dict (str | Path | dict): Checkpoint file, its content, or the weights.
        prefix (str): Load only the keys that begin with it, without it; such as 'backbone.'.
        strict (bool): Whether anything missing, unexpected or of another shape is an error.
        logger (logging.Logger, optional): Else the report is printed.

    Returns:
        LoadReport: Lists of keys.

    Raises:
        CheckpointError: Nothing matches, or with `strict` not everything.
    """
    source = 'the given weights'
    if not isinstance(path_or_state_dict, dict):
        source = str(path_or_state_dict)
        path_or_state_dict = read_checkpoint(path_or_state_dict)
    weights = get_state_dict(path_or_state_dict)
    weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    own = model.state_dict()
    found, mismatched = [], []
    handle = model.register_load_state_dict_post_hook(lambda module, keys: found.extend(map(list, keys)))
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        # all else is loaded by now; torch tells the names, as a module may know a key by an old name
        mismatched = re.findall(r'size mismatch for ([^:]+):', str(error))
        if not mismatched:
            raise
    finally:
        handle.remove()
    missing, unexpected = found
    # torch makes up absent counters of batch norms and does not call them missing: they are no match
    made_up = [key for key in own if key.endswith('num_batches_tracked') and key not in weights]
    left = {*missing, *mismatched, *made_up}
    report = LoadReport([key for key in own if key not in left], missing, unexpected, mismatched)
    say = logger.info if logger else print
    say(f'weights from {source}{f" under {prefix!r}" if prefix else ""}: {report}')
    for kind in ('missing', 'unexpected', 'mismatched'):
        keys = getattr(report, kind)
        if keys:
            say(f'  {kind}: {", ".join(keys[:8])}{", ..." if len(keys) > 8 else ""}')
    if not report.matched:
        raise CheckpointError(f'nothing in {source} fits the model: the model has keys such as {list(own)[:3]}, '
                              f'the checkpoint {list(weights)[:3]}')
    if strict and (report.missing or report.unexpected or report.mismatched):
        raise CheckpointError(f'{source} does not fit the model exactly: {report}')
    return report


class TrainingCheckpoint(NamedTuple):
    """A checkpoint that a training wrote.

    Attributes:
        path (Path): The file.
        iter, epoch (int): Iterations and epochs done.
        meta (dict): What the training noted in it.
        resumable (bool): Whether it has all to go on from: weights and the optimizer's state.
    """
    path: Path
    iter: int
    epoch: int
    meta: dict
    resumable: bool


def training_checkpoints(folder, suffix=None):
    """Checkpoints of trainings in a folder, by what they hold and not by name or date; tensors stay on the disk.

    Extracted and published weights and dumps of an iteration (loss_guard) are none. Torn files are passed over with a
    warning.

    Args:
        folder (str | Path): The folder; it may be absent.
        suffix (str, optional): Look at files whose name ends with it only.

    Returns:
        list[TrainingCheckpoint]: The one that got furthest first.
    """
    found = []
    for path in Path(folder).glob(f'*.{suffix}' if suffix else '*'):
        if path.is_symlink() or not path.is_file() or TEMPORARY.search(path.name):
            continue
        with open(path, 'rb') as file:
            is_zip = file.read(4) == b'PK\x03\x04'
        if not is_zip and path.suffix != '.pth':
            continue
        try:
            checkpoint = _peek(path) if is_zip else read_checkpoint(path)
        except (*_UNREADABLE, CheckpointError) as error:
            if path.suffix == '.pth' or not zipfile.is_zipfile(path):  # else a zip file of another kind
                reason = str(error).partition('\n')[0] if isinstance(error, CheckpointError) else \
                    f'{path} is torn or no checkpoint'
                warnings.warn(f'passed over: {reason}')
            continue
        meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
        if isinstance(meta, dict) and isinstance(meta.get('iter'), int) and 'batch' not in checkpoint:
            resumable = 'state_dict' in checkpoint and 'optimizer' in checkpoint
            found.append(TrainingCheckpoint(path, meta['iter'], meta.get('epoch', 0), meta, resumable))
    return sorted(found, key=lambda c: (c.iter, c.epoch, c.path.stat().st_mtime_ns), reverse=True)


def _peek(path):
    """What a zip file of torch holds, without reading its tensors."""
    with torch.serialization.safe_globals(_SAFE):
        return torch.load(path, map_location='cpu', weights_only=True, mmap=True)


def find_latest_checkpoint(path, suffix='pth'):
    """The checkpoint of a training that got furthest and can be read to the end.

    Args:
        path (str | Path): Folder.
        suffix (str, optional): Of the file names; None looks at all files.

    Returns:
        str | None: Path, None where no training can go on. Torn files are passed over with a warning.
    """
    for found in training_checkpoints(path, suffix):
        if found.resumable:
            torn = _torn_part(found.path)
            if torn is None:
                return str(found.path)
            warnings.warn(f'passed over: {found.path} is torn: the check sum of {torn} is wrong')
    return None


def _torn_part(path):
    """Name of a part of a zip file whose check sum is wrong, None where there is none; torch itself does not look."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (*_UNREADABLE, NotImplementedError):
        return 'its list of parts'


def unwrap(model):
    """The model inside a wrapper for several devices, whose keys in a checkpoint have no prefix."""
    wrappers = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    return model.module if isinstance(model, wrappers) else model
