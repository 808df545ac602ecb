# Copyright (c) mmssl contributors. All rights reserved.
"""Checkpoints: written atomically, read without running code from them, loaded with a count of what fitted."""
import argparse
import pickle
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .download import download
from .errors import ConfigError, nearest
from .logger import get_root_logger
from .misc import TEMPORARY, atomic_write
from .sharded_checkpoint import META, SUFFIX, is_folder_checkpoint, read_folder
from .unpickle import ArrayUnpickler, InertPickle

# Harmless classes that checkpoints of other toolboxes hold besides tensors: numpy scalars (best scores), the
# arguments of the command line.
_SAFE = [np.dtype, np._core.multiarray.scalar, argparse.Namespace] if hasattr(np, '_core') else \
    [np.dtype, np.core.multiarray.scalar, argparse.Namespace]
_SAFE += [(_SAFE[1], 'numpy.core.multiarray.scalar'), (_SAFE[1], 'numpy._core.multiarray.scalar')]
_SAFE += [type(np.dtype(kind)) for kind in ('float16', 'float32', 'float64', 'int32', 'int64', 'bool')]

# Where weights stand in a file, tried in this order. VISSL nests them by trunk and heads; blobs are Caffe2's; of a
# teacher and a student (DINO, I-JEPA) the teacher is the one to use.
PLACES = ('classy_state_dict.base_model.model', 'state_dict', 'model', 'network', 'model_state_dict', 'blobs',
          'teacher', 'target_encoder', 'student', 'encoder', '')  # yapf: disable

_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
               IndexError, OverflowError, MemoryError, UnicodeDecodeError, zipfile.BadZipFile)  # yapf: disable


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
    with atomic_write(path, 'wb', tensor_bytes(checkpoint)) as file:
        torch.save(checkpoint, file)


def remove_checkpoint(path):
    """Remove a checkpoint, a file or a folder NAME.dcp, if it is there."""
    path = Path(path)
    if path.is_dir():
        (path / META).unlink(missing_ok=True)  # without it the rest is no checkpoint, should this be interrupted
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tensor_bytes(content):
    """Bytes that the tensors in nested containers take in a file; those that share their memory count once."""
    storages = {}

    def visit(part):
        if isinstance(part, torch.Tensor):
            storage = part.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(part, (dict, list, tuple)):
            for value in part.values() if isinstance(part, dict) else part:
                visit(value)

    visit(content)
    return sum(storages.values())


def check_other_file(path, output):
    """Raise a CheckpointError where a result would be written over the checkpoint that it is made of."""
    if Path(output).exists() and Path(output).resolve() == Path(str(path)).resolve():
        raise CheckpointError(
            f'{output} is the checkpoint itself, whose other content would be lost: name another file')


def read_checkpoint(path, map_location='cpu'):
    """Read a checkpoint of this or another toolbox. Code in it is never run.

    Args:
        path (str | Path): File; folder NAME.dcp of a sharded training, see mmssl.utils.sharded_checkpoint; http(s)
            address, which is kept in torch's download folder; torchvision://NAME, such as torchvision://resnet50: the
            first ImageNet weights that torchvision published; open-mmlab://NAME or mmcls://NAME, by mmcv's lists. The
            suffix tells .safetensors and .pkl (numpy arrays); all else is torch's.
        map_location: Device of the tensors.

    Returns:
        dict: What the file holds. Objects of packages such as mmengine are placeholders that do nothing.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The file cannot be downloaded.
        CheckpointError: It is torn, is no checkpoint, or holds objects whose loading could run code.
    """
    if is_folder_checkpoint(path):
        return read_folder(path, lambda file: _read_torch(file, map_location))
    path = local_file(path)
    read = {'.safetensors': _read_safetensors, '.pkl': read_array_pickle}.get(Path(path).suffix.lower(), _read_torch)
    if zipfile.is_zipfile(path):  # what torch.save writes, whatever its name
        read = _read_torch
    checkpoint = read(path, map_location)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, a checkpoint is a dict')
    return checkpoint


def local_file(checkpoint):
    """Path of a checkpoint on the disk; one behind an address is fetched once. See read_checkpoint."""
    if is_folder_checkpoint(checkpoint):
        return Path(checkpoint)
    path = str(checkpoint)
    scheme, _, name = path.partition('://')
    if scheme in _ZOOS:
        path = _ZOOS[scheme](name)
    if path.startswith(('http://', 'https://')):
        path = download(path, Path(torch.hub.get_dir()) / 'checkpoints')
    if not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    return Path(path)


def _read_torch(path, map_location):
    try:
        packed = zipfile.is_zipfile(path)
        if packed:
            with zipfile.ZipFile(path) as archive:  # torch itself does not look at the check sums
                torn = archive.testzip()
            if torn:
                raise EOFError(f'the check sum of {torn} is wrong')
        try:
            with torch.serialization.safe_globals(_SAFE):
                return torch.load(path, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError:
            if not packed:
                raise
            return torch.load(path, map_location=map_location, weights_only=False, pickle_module=InertPickle)
    except _UNREADABLE as error:
        reason = str(error).partition('\n')[0] or 'it ends too early'
        # words that are a number, or advice about foreign files
        if isinstance(error, LookupError) or reason.startswith('Weights only load failed'):
            reason = 'its bytes are no weights of torch'
        foreign = isinstance(error, pickle.UnpicklingError) and re.search(r'(?:GLOBAL|object of type) ([\w.]+)',
                                                                          str(error))
        if foreign:
            raise CheckpointError(f'checkpoint {path} holds an object of type {foreign[1]}, and loading it could run '
                                  'foreign code; convert it to a dict of tensors where you trust it') from error
        raise CheckpointError(f'{path} is torn or no checkpoint: {reason}') from error


def read_array_pickle(path, map_location='cpu'):
    """Read a pickle of numpy arrays in plain containers, such as the model files of detectron2.

    Args:
        path (str | Path): The file.
        map_location: Device of the tensors.

    Returns:
        dict: With tensors in place of the arrays.

    Raises:
        CheckpointError: It holds something else, or is torn.
    """
    try:
        with open(path, 'rb') as file:
            return _tensors(ArrayUnpickler(file, encoding='latin1').load(), map_location)
    except _UNREADABLE as error:
        raise CheckpointError(f'{path} is no pickle of arrays: {error or "it ends too early"}') from error


def _tensors(content, device):
    if isinstance(content, dict):
        return {key: _tensors(value, device) for key, value in content.items()}
    if isinstance(content, np.ndarray) and content.dtype.kind in 'biuf':
        return torch.from_numpy(content.astype(content.dtype.newbyteorder('='))).to(device)
    return content


def _read_safetensors(path, map_location):
    safetensors = import_safetensors(path)
    try:
        return safetensors.torch.load_file(path, device=str(map_location))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f'{path} is torn or no safetensors file: {error}') from error


def import_safetensors(path):
    """The package, or a CheckpointError that says that `path` needs it."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise CheckpointError(f'{path} needs the package safetensors: pip install safetensors') from error
    return safetensors


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
    """The weights in a checkpoint; see find_state_dict."""
    return find_state_dict(checkpoint)[1]


def find_state_dict(checkpoint, place=None):
    """The weights in a checkpoint, and where they are.

    Args:
        checkpoint (dict): What a file holds.
        place (str, optional): Key under which the weights stand, with dots between nested ones; '' for a file that
            holds nothing else. By default the first of PLACES that is there.

    Returns:
        tuple[str, dict[str, Tensor]]: The place, and the weights without the marks 'module.' and '_orig_mod.' that
        wrapped and compiled models leave; names of nested dicts are joined by dots.

    Raises:
        CheckpointError: There are no tensors, or none at `place`.
    """
    if place == PLACES[0].partition('.')[0]:
        place = PLACES[0]
    for where in PLACES if place is None else [place]:
        found = checkpoint
        for key in filter(None, where.split('.')):
            found = found.get(key) if isinstance(found, dict) else None
        weights = _flat(found) if isinstance(found, dict) else {}
        if weights:
            return where, {
                key.replace('_orig_mod.', '').removeprefix('module.'): value
                for key, value in weights.items()
            }
    raise CheckpointError('no weights' + (f' under {place!r}' if place else '') +
                          f'; its keys are {", ".join(map(str, list(checkpoint)[:10]))}')


def teacher_weights(weights, source='the given weights'):
    """Put the moving averages of backbone and neck in their places: DINO's teacher, BYOL's target, MoCo's key encoder.

    Args:
        weights (dict[str, Tensor]): Of a whole training here.
        source (str): Where they are from, for messages.

    Returns:
        dict[str, Tensor]: Without the part that was averaged, and without the neck where that has no average.

    Raises:
        CheckpointError: There is no network like the backbone.
    """
    inside = {key.removeprefix('backbone.') for key in weights if key.startswith('backbone.')}
    for part in dict.fromkeys(key.partition('.')[0] for key in weights):
        for prefix in (f'{part}.0.', f'{part}.'):  # a sequence of backbone and neck, or a backbone (CAE)
            names = {key.removeprefix(prefix) for key in weights if key.startswith(prefix)}
            if part != 'backbone' and inside and inside <= names:
                places = {prefix: 'backbone.', f'{part}.1.': 'neck.', f'{part}.2.': 'patch_neck.'}
                return {
                    **{key: value for key, value in weights.items()
                       if not key.startswith((f'{part}.', *places.values()))},
                    **{own + key.removeprefix(place): value for place, own in places.items()
                       for key, value in weights.items() if key.startswith(place)}
                }  # yapf: disable
    raise CheckpointError(f'{source} has no moving average of the backbone, a teacher; its parts are '
                          f'{", ".join(dict.fromkeys(key.partition(".")[0] for key in weights))}')


def _flat(nested, prefix=''):
    """The tensors of nested dicts, by names joined by dots."""
    flat = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f'{prefix}{key}.'))
        elif isinstance(value, torch.Tensor):
            flat[f'{prefix}{key}'] = value
    return flat


def load_weights(model,
                 path_or_state_dict,
                 prefix='',
                 strict=False,
                 logger=None,
                 complete=(),
                 may_differ=('', ),
                 source=None,
                 refilled=(),
                 inflate_stem=None):
    """Load weights into a model and log how much fitted, with all names and shapes at the level DEBUG.

    A frozen part with a random tensor is never what a user wants: what is missing there, or has another shape, is an
    error, and elsewhere a warning. Of a whole algorithm, parts other than the backbone may be absent: their weights are
    new.

    Args:
        model (nn.Module): Changed in place.
        path_or_state_dict (str | Path | dict): Checkpoint file, its content, or the weights.
        prefix (str): Load only the keys that begin with it, without it; such as 'backbone.'.
        strict (bool): Whether anything missing, unexpected or of another shape is an error.
        logger (logging.Logger, optional): By default mmssl's.
        complete (Sequence[str]): Parts, such as 'backbone', that must be loaded whole, since their outputs are
            evaluated; '' for all parts. Buffers other than running statistics do not count.
        may_differ (Sequence[str]): Parts whose tensors may have other shapes than those of the model, and keep their
            initial values then (load_from_mismatch of a config); by default all.
        source (str, optional): Where the weights are from, for messages.
        refilled (Sequence[str]): Parts in which the caller fills in what is missing, such as a momentum encoder.
        inflate_stem (str, optional): How the first convolution or patch embedding of a network on other channels is
            made to fit, see inflate. None: such a network is refused, unless `may_differ` names its part.

    Returns:
        LoadReport: Lists of keys.

    Raises:
        CheckpointError: Nothing matches; with `strict` not everything; a frozen part or one of `complete` is not loaded
            whole; shapes differ outside of `may_differ`; a network on other channels without `inflate_stem`.
    """
    logger = logger or get_root_logger()
    source = source or 'the given weights'
    if not isinstance(path_or_state_dict, dict):
        source = str(path_or_state_dict)
        path_or_state_dict = read_checkpoint(path_or_state_dict)
    weights = get_state_dict(path_or_state_dict)
    weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    own = model.state_dict()
    stems = {key: own[key].shape[1] for key in weights if key in own and _is_other_stem(weights[key], own[key])}
    if inflate_stem is not None:
        weights.update((key, inflate(weights[key], channels, inflate_stem)) for key, channels in stems.items())
        logger.info(f'inflate_stem={inflate_stem!r}: ' + (', '.join(
            f'{key} has {channels} channels now'
            for key, channels in stems.items()) or 'no tensor was changed, the channels are those of the model'))
    found, shapes = [], {}
    handle = model.register_load_state_dict_post_hook(lambda module, keys: found.extend(map(list, keys)))
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        # all else is loaded by now; torch tells the names, as a module may know a key by an old name
        shapes = {name: f'{name} ({theirs}) for ({ours})' for name, theirs, ours in _MISMATCH.findall(str(error))}
        if not shapes:
            raise
    finally:
        handle.remove()
    missing, unexpected = found
    # torch makes up absent counters of batch norms and does not call them missing: they are no match
    made_up = [key for key in own if key.endswith('num_batches_tracked') and key not in weights]
    left = {*missing, *shapes, *made_up}
    report = LoadReport([key for key in own if key not in left], missing, unexpected, list(shapes))
    logger.info(f'weights from {source}{f" under {prefix!r}" if prefix else ""}: {report}')
    shapes = {
        **{
            key: f'{key} {_shape(own[key])}'
            for key in report.missing
        },
        **{
            key: f'{key} {_shape(weights[key])}'
            for key in report.unexpected if key in weights
        },
        **shapes
    }
    for kind, keys in report._asdict().items():
        if keys:
            logger.debug('  %s: %s', kind, ', '.join(shapes.get(key) or f'{key} {_shape(own[key])}' for key in keys))
    if report.unexpected:
        logger.info(f'  unexpected: {_some(report.unexpected, shapes)}')

    def fail(keys, why):
        facts = ''
        for kind in ('missing', 'mismatched', 'unexpected'):
            part = [key for key in keys if key in getattr(report, kind)]
            facts += f'; {len(part)} {kind} ({_some(part, shapes)})' if part else ''
        raise CheckpointError(f'{source} {why}: {report}{facts}')

    if not any(own[key].dim() for key in report.matched):  # counters say nothing
        if report.mismatched:
            fail(report.mismatched, 'fits the model nowhere, tensors of the same names have other shapes')
        raise CheckpointError(f'nothing in {source} fits the model: the model has keys such as {list(own)[:3]}, '
                              f'the checkpoint {list(weights)[:3]}')
    refused = [
        key for key in report.mismatched if key in stems and (may_differ == ('', ) or not _within(key, may_differ))
    ]
    if refused:
        fail(
            refused, f'is of a network on {weights[refused[0]].shape[1]} channels, the model has {stems[refused[0]]}: '
            "inflate_stem='mean' or 'cycle' (at the top level of the config with load_from, or in init_cfg beside the "
            'checkpoint) makes its first layer fit')
    if strict and (report.missing or report.unexpected or report.mismatched):
        fail([*report.missing, *report.mismatched], 'does not fit the model exactly')
    absent = _absent_parts(model, report, missing)
    filled = [key for key in report.missing if _within(key, refilled)]
    lost = [
        key for key in [*report.missing, *report.mismatched]
        if key.partition('.')[0] not in absent and key not in filled
    ]
    evaluated = [key for key in [*report.missing, *report.mismatched] if _within(key, complete)]
    if evaluated:
        weighty = {name for name, _ in model.named_parameters()}
        evaluated = [key for key in evaluated if key in weighty or key.endswith(('running_mean', 'running_var'))]
    if evaluated:
        parts = dict.fromkeys(key.partition('.')[0] for key in evaluated)
        fail(evaluated, f'would leave random weights in the {" and the ".join(parts)}, which would be evaluated')
    frozen = _frozen(model, lost)
    if frozen:
        fail(frozen, 'would leave random weights in a frozen part')
    larger = _of_a_larger_network(model, report.unexpected)
    larger = [key for key in larger if _within(key, complete) or _frozen(model, [larger[key]])]
    if larger:
        fail(larger, 'is of a larger network, of which a part alone would be evaluated')
    differing = [key for key in report.mismatched if not _within(key, may_differ)]
    if differing:
        parts = sorted({key.partition('.')[0] for key in differing})
        fail(differing, f'is of another network (load_from_mismatch={parts} would begin with random weights there)')
    if absent:
        logger.info(f'  no weights of {", ".join(absent)}: initial values')
    for kind in ('missing', 'mismatched'):
        keys = [key for key in lost if key in getattr(report, kind)]
        if keys:
            logger.warning(f'  {kind}, initial values are kept: {_some(keys, shapes)}')
    return report


def _is_other_stem(theirs, ours):
    """Whether two convolutions differ in the channels that they take and in nothing else."""
    return (theirs.dim() == ours.dim() == 4 and theirs.shape[1] != ours.shape[1]
            and theirs[:, 0].shape == ours[:, 0].shape)


def inflate(weight, channels, how='mean'):
    """The weights of a first convolution, or of a patch embedding, for another number of channels.

    An image whose channels are all equal gives the same responses as one of equal channels gave before.

    Args:
        weight (Tensor): Out x in x height x width, such as of a network on RGB.
        channels (int): New number of channels.
        how (str): 'mean': all channels get the mean over the old ones; 'cycle': channel i gets that of channel i % in.
            Both are scaled so that their sum stays.

    Returns:
        Tensor: Out x channels x height x width.

    Raises:
        CheckpointError: No such way; or 'cycle' to fewer channels than there were.
    """
    if how not in ('mean', 'cycle'):
        raise CheckpointError(f"inflate_stem must be 'mean' or 'cycle', got {how!r}")
    old = weight.shape[1]
    if how == 'mean':
        return weight.sum(1, keepdim=True).div(channels).repeat(1, channels, 1, 1)
    if channels < old:
        raise CheckpointError(f"inflate_stem='cycle' repeats channels, but the model has {channels} and the checkpoint "
                              f"{old}: set inflate_stem='mean'")
    places = torch.arange(channels) % old
    copies = torch.bincount(places).to(weight)[places]  # of each channel
    return weight[:, places] / copies.view(1, -1, 1, 1)


# counters, and tables that a network makes itself
NO_WEIGHTS = ('num_batches_tracked', 'relative_position_index', 'attn_mask')
_MISMATCH = re.compile(
    r'size mismatch for ([^:]+): copying a param with shape torch.Size\(\[(.*?)\]\) from checkpoint, '
    r'the shape in current model is torch.Size\(\[(.*?)\]\)')


def _shape(tensor):
    return f'({", ".join(map(str, tensor.shape))})'


def _some(keys, shapes):
    return ', '.join(shapes[key] for key in keys[:3]) + (', ...' if len(keys) > 3 else '')


def _within(key, parts):
    """Whether a key is one of these parts or below them; '' is everything."""
    return any(not part or key == part or key.startswith(f'{part}.') for part in parts)


def _absent_parts(model, report, missing):
    """Parts of an algorithm, the backbone aside, of which the checkpoint has nothing."""
    if not hasattr(model, 'backbone'):
        return []
    there = {key.partition('.')[0] for key in [*report.matched, *report.mismatched]}
    return [part for part in dict.fromkeys(key.partition('.')[0] for key in missing)
            if part not in there and part != 'backbone']  # yapf: disable


def _of_a_larger_network(model, unexpected):
    """Unexpected weights inside of blocks that the model has, such as a third layer where it has two.

    Returns:
        dict[str, str]: Such keys, and the name of a tensor that the innermost of these blocks could have.
    """
    top = 1 if hasattr(model, 'backbone') else 0  # heads stand beside the blocks
    found = {}
    for key in unexpected:
        owner = key.rpartition('.')[0]
        while owner:
            try:
                model.get_submodule(owner)
                break
            except AttributeError:
                owner = owner.rpartition('.')[0]
        if owner.count('.') >= top and owner and not key.endswith(NO_WEIGHTS):
            found[key] = f'{owner}.'
    return found


def _frozen(model, keys):
    """Those of the keys that no training will change: parameters without gradient, and buffers beside such ones."""
    found = []
    for key in keys:
        owner, _, name = key.rpartition('.')
        parameter = dict(model.get_submodule(owner).named_parameters(recurse=False)).get(name)
        while owner and not any(True for _ in model.get_submodule(owner).parameters()):
            owner = owner.rpartition('.')[0]
        still = not any(p.requires_grad for p in model.get_submodule(owner).parameters())
        # positions that are computed have no gradient in a network that learns
        if still or parameter is not None and not parameter.requires_grad and not name.endswith('pos_embed'):
            found.append(key)
    return found


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


def training_checkpoint(path):
    """What a file holds of a training; tensors stay on the disk.

    Args:
        path (str | Path): The file, or a folder NAME.dcp.

    Returns:
        TrainingCheckpoint | None: None for weights alone, dumps of an iteration (loss_guard) and other files. Torn
        ones are passed over with a warning.
    """
    path = Path(path)
    if path.is_dir():  # complete, as it has its name
        found = training_checkpoint(path / META) if is_folder_checkpoint(path) else None
        return found and found._replace(path=path)
    with open(path, 'rb') as file:
        is_zip = file.read(4) == b'PK\x03\x04'
    if not is_zip and path.suffix != '.pth':
        return None
    try:
        checkpoint = _peek(path) if is_zip else read_checkpoint(path)
    except (*_UNREADABLE, CheckpointError) as error:
        if path.suffix == '.pth' or not zipfile.is_zipfile(path):  # else a zip file of another kind
            own = isinstance(error, CheckpointError)
            warnings.warn(f'passed over: {error if own else f"{path} is torn or no checkpoint"}')
        return None
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    # what a training wrote has at least the state of its hooks; mmcv's has an optimizer
    if not isinstance(meta, dict) or not isinstance(meta.get('iter'),
                                                    int) or not {'hooks', 'optimizer'} & {*checkpoint}:
        return None
    resumable = 'state_dict' in checkpoint and 'optimizer' in checkpoint
    return TrainingCheckpoint(path, meta['iter'], meta.get('epoch', 0), meta, resumable)


def training_checkpoints(folder, suffix=None):
    """Checkpoints of trainings in a folder, by what they hold and not by name or date; see training_checkpoint.

    Args:
        folder (str | Path): The folder; it may be absent.
        suffix (str, optional): Look only at files whose name ends with it, and at folders NAME.dcp.

    Returns:
        list[TrainingCheckpoint]: The one that got furthest first.
    """
    files = [
        path for path in Path(folder).glob('*')
        if (path.is_file() and path.name.endswith(f'.{suffix}' if suffix else '') or path.suffix == SUFFIX)
        and not path.is_symlink() and not TEMPORARY.search(path.name)
    ]
    found = [checkpoint for checkpoint in map(training_checkpoint, files) if checkpoint]
    return sorted(found, key=lambda c: (c.iter, c.epoch, c.path.stat().st_mtime_ns), reverse=True)


def _peek(path):
    """What a zip file of torch holds, without reading its tensors."""
    with torch.serialization.safe_globals(_SAFE), warnings.catch_warnings():
        # an export beside the checkpoints is refused by torch, which warns before it does
        warnings.filterwarnings('ignore', message=".*looks like a TorchScript archive")
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
    path = path / META if path.is_dir() else path
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
