# Copyright (c) mmssl contributors. All rights reserved.
"""Compute the iteration again that mmssl.core.loss_guard has dumped."""
import contextlib
import math

import torch
from mmcv import Config

from mmssl.datasets.loader import map_tensors
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import CheckpointError, load_weights, read_checkpoint
from mmssl.utils.config import check_sections, config_section, load_config
from mmssl.utils.config_file import read_plain
from mmssl.utils.dist import default_device
from mmssl.utils.errors import ConfigError
from mmssl.utils.rng import set_rng_state


def _finite(values):
    found = []
    map_tensors(values, lambda t: found.append(bool(t.isfinite().all())))  # integers are finite
    return all(found)


def reproduce(path, device=None, config=None):
    """Compute a dumped iteration again, up to the loss.

    Parameters and batch are those of the iteration. Buffers, such as queues, are as its forward pass left them; where
    that wrote NaN or infinity into them, zeros stand instead, so that what is found is the cause and not its trace.

    Args:
        path (str): The dump.
        device (str, optional): Where; by default the GPU where there is one.
        config (str, optional): The config of the training, whose custom_imports are imported and whose model is
            built. By default the model in the dump, which may have registered classes of this toolbox only: nothing
            that a file names is run or imported.

    Returns:
        dict: `iter`, `rank`, `world_size`; `parameters` (names of those that are not finite), `images` (files of the
        batch whose images are not finite), `first` (None, or name, kind and state of the inputs of the first module
        with an output that is not finite), `losses` (dict[str, float]), `losses_then` (in training) and `reproduced`.

    Raises:
        CheckpointError: The file is no such dump, or its config is no plain text of values.
    """
    dump = read_checkpoint(path)
    absent = [key for key in ('meta', 'state_dict', 'settings', 'batch', 'rng_state') if key not in dump]
    if absent:
        raise CheckpointError(f'{path} has no {absent[0]!r}: it is no dump of an iteration, those are called '
                              'nonfinite_iter_N_rankR.pth')
    meta, device = dump['meta'], torch.device(device) if device else default_device()
    if config is None and not meta['config']:
        raise CheckpointError(f'{path} has no config, so the model cannot be built: give it by --config')
    try:
        cfg = load_config(config) if config else Config(read_plain(meta['config']))
    except ConfigError as error:
        raise error if config else CheckpointError(f'the config in {path}: {error}') from error
    check_sections(cfg, ['model'])
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    load_weights(model, dump)
    for name, module in model.named_modules():
        for key, value in dump['settings'].get(name, {}).items():
            setattr(module, key, value)
    model.is_update_iter = False  # the momentum step was taken in training already
    parameters = [name for name, value in model.named_parameters() if not value.isfinite().all()]
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.nan_to_num_(0., 0., 0.)
    model.to(device).train()

    batch = map_tensors(dump['batch'], lambda t: t.to(device))
    views = []
    map_tensors(batch['img'], views.append)
    images = [name for i, name in enumerate(meta['files']) if not all(_finite(view[i]) for view in views)]

    first = []

    def look(name):

        def hook(module, inputs, output):
            if not first and not _finite(output):
                first.append(
                    dict(name=name, kind=type(module).__name__, inputs='finite' if _finite(inputs) else 'not finite'))

        return hook

    for name, module in model.named_modules():
        if name and not next(module.children(), None):
            module.register_forward_hook(look(name))
    set_rng_state(dump['rng_state'])
    amp = torch.autocast(device.type, getattr(torch, meta['amp_dtype'])) if meta['amp_dtype'] else \
        contextlib.nullcontext()
    with torch.no_grad(), amp:
        log_vars = model.train_step(batch, None)['log_vars']
    losses = {name: float(value) for name, value in log_vars.items()}
    return dict(
        iter=meta['iter'],
        rank=meta['rank'],
        world_size=meta['world_size'],
        parameters=parameters,
        images=images,
        first=first[0] if first else None,
        losses=losses,
        losses_then=meta['losses'],
        reproduced=not math.isfinite(losses['loss']))
