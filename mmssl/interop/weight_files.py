# Copyright (c) mmssl contributors. All rights reserved.
"""Weights in the files of other libraries: torch's, safetensors, pickles of numpy arrays. Code in a file never runs."""
import json
import pickle
from pathlib import Path

from mmssl.utils.checkpoint import (CheckpointError, find_state_dict, import_safetensors, read_checkpoint,
                                    save_checkpoint)
from mmssl.utils.misc import atomic_write


def read_weights(path, place=None):
    """Weights of a file of any kind that is known here.

    Args:
        path (str | Path): File of torch (or its address), .safetensors, .pkl with numpy arrays (detectron2), or a
            folder of transformers with a model.safetensors.
        place (str, optional): Key under which the weights stand, with dots between nested ones; '' for a file that
            holds nothing else. See find_state_dict.

    Returns:
        dict[str, Tensor]: On the CPU, without the prefix 'module.' of wrapped models; names of nested dicts are joined
        by dots.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is torn, holds something else than weights, or has nothing at `place`.
    """
    return find_weights(path, place)[1]


def find_weights(path, place=None):
    """As read_weights, with the key under which the weights stand before them."""
    if Path(path).is_dir():
        path = Path(path) / 'model.safetensors'
    content = read_checkpoint(path)
    try:
        return find_state_dict(content, place)
    except CheckpointError as error:
        raise CheckpointError(f'{path} has {error}') from error


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
        CheckpointError: Nothing is left, no name begins with the prefix, or none contains a part to skip.
    """
    for part in skip_layers:
        if not any(part in key for key in weights):
            raise CheckpointError(
                f'skip_layers: no name contains {part!r}; they are {", ".join(list(weights)[:3])}, ...')
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
    content = import_safetensors(path).torch.save(weights, metadata=dict(format='pt'))
    with atomic_write(path, 'wb') as file:
        file.write(content)
