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
from .misc import atomic_write

# Harmless classes that checkpoints of other toolboxes hold besides tensors: numpy scalars (best scores), the
# arguments of the command line.
_SAFE = [np.dtype, np._core.multiarray.scalar, argparse.Namespace] if hasattr(np, '_core') else \
    [np.dtype, np.core.multiarray.scalar, argparse.Namespace]
_SAFE += [(_SAFE[1], 'numpy.core.multiarray.scalar'), (_SAFE[1], 'numpy._core.multiarray.scalar')]
_SAFE += [type(np.dtype(kind)) for kind in ('float16', 'float32', 'float64', 'int32', 'int64', 'bool')]


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
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
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


def find_latest_checkpoint(path, suffix='pth'):
    """The newest checkpoint of a training that can be read to the end.

    Torn files are passed over with a warning, and so are files without a position to resume from.

    Args:
        path (str | Path): Folder.
        suffix (str): Of the file names.

    Returns:
        str | None: Path, None where there is no checkpoint.
    """

    def age(file):
        number = re.findall(r'\d+', file.stem)
        return file.stat().st_mtime_ns, int(number[-1]) if number else -1

    files = [file for file in Path(path).glob(f'*.{suffix}') if file.is_file() and not file.is_symlink()]
    for file in sorted(files, key=age, reverse=True):
        try:
            # the whole file is read, so that a tear at any place is found
            if 'iter' in read_checkpoint(file).get('meta', {}):
                return str(file)
        except CheckpointError as error:
            warnings.warn(f'passed over: {error}')
    return None


def unwrap(model):
    """The model inside a wrapper for several devices, whose keys in a checkpoint have no prefix."""
    wrappers = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    return model.module if isinstance(model, wrappers) else model
