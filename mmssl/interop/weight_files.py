# Copyright (c) mmssl contributors. All rights reserved.
"""Weights in the files of other libraries: torch's, safetensors, pickles of numpy arrays. Code in a file never runs."""
import codecs
import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from mmssl.utils.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from mmssl.utils.misc import atomic_write

# Where weights stand in a checkpoint, tried in this order. VISSL nests them by trunk and heads; blobs are Caffe2's.
PLACES = ('classy_state_dict.base_model.model', 'state_dict', 'model', 'blobs', '')


def _latin1(text, encoding):
    """What pickles of numpy arrays call for their bytes: codecs.encode, for this encoding alone."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes encoded as {encoding!r}')
    return codecs.encode(text, 'latin1')


_ARRAY = np.zeros(0).__reduce__()[0]  # numpy's maker of empty arrays, whatever its module is called
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_SCALAR = np.float32(0).__reduce__()[0]
_ADMITTED = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('collections', 'OrderedDict'): OrderedDict,
    ('_codecs', 'encode'): _latin1,
    **{(f'numpy.{core}.{module}', name): maker
       for core in ('core', '_core')
       for module, name, maker in (('multiarray', '_reconstruct', _ARRAY), ('multiarray', 'scalar', _SCALAR),
                                   ('numeric', '_frombuffer', _FROM_BUFFER))},
}  # yapf: disable


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays, numbers, text and plain containers; whatever else a pickle names is refused."""

    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f'it holds an object of type {module}.{name}, and loading it could run '
                                         'foreign code')
        return _ADMITTED[module, name]


def read_array_pickle(path):
    """Read a pickle of numpy arrays in plain containers, such as the model files of detectron2.

    Args:
        path (str | Path): The file.

    Returns:
        dict: With tensors in place of the arrays.

    Raises:
        CheckpointError: It holds something else, or is torn.
    """
    try:
        with open(path, 'rb') as file:
            content = _ArraysOnly(file, encoding='latin1').load()
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
            OverflowError, MemoryError, UnicodeDecodeError) as error:
        raise CheckpointError(f'{path} is no pickle of arrays: {error or "it ends too early"}') from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, weights are a dict')
    return _tensors(content)


def _tensors(content):
    if isinstance(content, dict):
        return {key: _tensors(value) for key, value in content.items()}
    if isinstance(content, np.ndarray) and content.dtype.kind in 'biuf':
        return torch.from_numpy(content.astype(content.dtype.newbyteorder('=')))
    return content


def read_weights(path, place=None):
    """Weights of a file of any kind that is known here.

    Args:
        path (str | Path): File of torch (or its address), .safetensors, .pkl with numpy arrays (detectron2), or a
            folder of transformers with a model.safetensors.
        place (str, optional): Key under which the weights stand, with dots between nested ones; '' for a file that
            holds nothing else. By default the first of PLACES that is there.

    Returns:
        dict[str, Tensor]: On the CPU, without the prefix 'module.' of wrapped models; names of nested dicts are joined
        by dots.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is torn, holds something else than weights, or has nothing at `place`.
    """
    if Path(path).is_dir():
        path = Path(path) / 'model.safetensors'
    suffix = Path(str(path)).suffix.lower()
    if suffix in ('.safetensors', '.pkl') and not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    if suffix == '.safetensors':
        content = _read_safetensors(path)
    else:
        content = read_array_pickle(path) if suffix == '.pkl' else read_checkpoint(path)
    if place == PLACES[0].partition('.')[0]:
        place = PLACES[0]
    places = [place] if place is not None else PLACES
    for where in places:
        found = _at(content, where)
        weights = _flat(found) if isinstance(found, dict) else {}
        if weights:
            return {key.removeprefix('module.'): value for key, value in weights.items()}
    raise CheckpointError(f'{path} has no weights' + (f' under {place!r}' if place else '') +
                          f'; its keys are {", ".join(map(str, list(content)[:10]))}')


def _at(content, place):
    for key in filter(None, place.split('.')):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _flat(nested, prefix=''):
    """The tensors of nested dicts, by names joined by dots."""
    flat = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f'{prefix}{key}.'))
        elif isinstance(value, torch.Tensor):
            flat[f'{prefix}{key}'] = value
    return flat


def _read_safetensors(path):
    safetensors = _import_safetensors(path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f'{path} is torn or no safetensors file: {error}') from error


def _import_safetensors(path):
    try:
        import safetensors.torch
    except ImportError as error:
        raise CheckpointError(f'{path} needs the package safetensors: pip install safetensors') from error
    return safetensors


def rename_weights(weights, skip_layers=(), remove_prefix='', append_prefix=''):
    """Change names as VISSL's WEIGHTS_INIT does, in this order.

    Args:
        weights (dict[str, Tensor]): By their names.
        skip_layers (Sequence[str]): Names that contain one of these are left out.
        remove_prefix (str): Taken off the names that begin with it.
        append_prefix (str): Put in front of all names.

    Returns:
        dict[str, Tensor]: By their new names.

    Raises:
        CheckpointError: Nothing is left, or no name begins with the prefix.
    """
    if remove_prefix and not any(key.startswith(remove_prefix) for key in weights):
        raise CheckpointError(f'no name begins with {remove_prefix!r}; they are {", ".join(list(weights)[:3])}, ...')
    renamed = {
        append_prefix + key.removeprefix(remove_prefix): value
        for key, value in weights.items() if not any(part in key for part in skip_layers)
    }
    if not renamed:
        raise CheckpointError(f'every name contains one of {", ".join(skip_layers)}')
    return renamed


def check_output(path, layout):
    """Raise a CheckpointError where a layout is not written into a file of this kind."""
    path = Path(path)
    if (layout == 'detectron2') != (path.suffix == '.pkl'):
        raise CheckpointError(f'{path}: detectron2 takes weights of other libraries as .pkl, and nothing else does')
    if not path.suffix and layout != 'huggingface':
        raise CheckpointError(f'{path} has no suffix: name a file such as {path.name}.pth')


def write_weights(weights, path, layout, description=None):
    """Write weights as the library of their layout loads them.

    Args:
        weights (dict[str, Tensor]): By the names of the layout.
        path (str | Path): .safetensors; .pkl for detectron2; a folder for Hugging Face (model.safetensors and
            config.json); else a file of torch: dict(state_dict=...) for the toolboxes of OpenMMLab, dict(model=...) for
            the original code of MAE and Swin, dict(classy_state_dict=...) for ClassyVision, the bare weights for all
            others.
        layout (str): Name of the layout.
        description (dict, optional): Content of the config.json.

    Raises:
        CheckpointError: The layout is not written into a file of this kind.
    """
    check_output(path, layout)
    path = Path(path)
    # views of larger tensors would bring the whole storage along
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
    if path.suffix == '.pkl':
        content = dict(model={k: v.numpy() for k, v in weights.items()}, __author__='mmssl', matching_heuristics=True)
        with atomic_write(path, 'wb') as file:
            pickle.dump(content, file)
    elif path.suffix == '.safetensors':
        _write_safetensors(weights, path)
    elif not path.suffix:
        with atomic_write(path / 'config.json') as file:
            json.dump(description, file, indent=2)
        _write_safetensors(weights, path / 'model.safetensors')
    else:
        place = {**dict.fromkeys(('mmssl', 'backbone', 'mmcls', 'mmdet', 'mmseg'), 'state_dict'),
                 **dict.fromkeys(('mae', 'swin'), 'model')}.get(layout)  # yapf: disable
        if layout == 'classyvision':  # which goes by the version of its ResNeXt, and asks for heads
            weights = dict(base_model=dict(model=dict(trunk=weights, heads={}), version=0.2))
            place = 'classy_state_dict'
        save_checkpoint({place: weights} if place else weights, path)


def _write_safetensors(weights, path):
    content = _import_safetensors(path).torch.save(weights, metadata=dict(format='pt'))
    with atomic_write(path, 'wb') as file:
        file.write(content)
