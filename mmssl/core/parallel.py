# Copyright (c) mmssl contributors. All rights reserved.
"""A model and its optimizer as they are trained: on their device, compiled, over several processes."""
import torch

from mmssl.models.utils.norm import SyncBatchNorm, synchronise_batch_norms
from mmssl.utils.config import config_section
from mmssl.utils.dist import neighbours_group
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.logger import get_root_logger
from .activation_checkpointing import checkpoint_activations
from .distributed import DistributedDataParallel, compress_gradients
from .optimizer import build_optimizer
from .optimizer.master_weights import keep_master_weights
from .sharding import check_optimizer, options_of, parts_to_compile, shard_model, shard_optimizer, sharding_type

_HALF = dict(bfloat16=torch.bfloat16, float16=torch.float16)


def half_precision(amp):
    """The type of numbers that `amp` of a config names, torch.bfloat16 or torch.float16.

    Raises:
        ConfigError: Another one.
    """
    if amp.get('dtype') not in _HALF:
        raise ConfigError(f"amp.dtype is 'bfloat16' or 'float16', got {amp.get('dtype')!r}", amp)
    return _HALF[amp['dtype']]


def prepare_model(model, cfg, device):
    """Put a model on its device and change its parts as the switches of a config say, before the optimizer is built.

    Args:
        model (nn.Module): An algorithm, built and initialised.
        cfg (mmcv.Config): The whole config; read are activation_checkpointing, sync_bn, channels_last and compile.
        device (torch.device): Where it is trained.

    Returns:
        nn.Module: The model.

    Raises:
        ConfigError: A switch that this model or this number of processes cannot have.
    """
    model = model.to(device)
    if cfg.get('activation_checkpointing') not in (None, False):
        blocks = checkpoint_activations(model, cfg.activation_checkpointing)
        get_root_logger().info('activation_checkpointing: %d blocks are computed again in the backward pass, %s to %s',
                               len(blocks), blocks[0], blocks[-1])
    if cfg.get('sync_bn') not in (None, False):
        model = _synchronise(model, cfg.sync_bn)
    for size in sorted({part.group_size for part in model.modules() if isinstance(part, SyncBatchNorm)}):
        neighbours_group(size)  # what is wrong with it is said before the training begins
    if cfg.get('channels_last'):
        model = model.to(memory_format=torch.channels_last)
    if cfg.get('compile'):
        for part in parts_to_compile(model, cfg.get('sharding')):
            part.compile()
    return model


def _synchronise(model, options):
    options = {} if options is True else dict(options)
    unknown = set(options) - {'group_size'}
    if unknown:
        raise ConfigError(f'sync_bn has no option {min(unknown)!r}; {nearest(min(unknown), ["group_size"])}')
    return synchronise_batch_norms(model, **options)


def wrap_model(model, cfg, device):
    """Have several processes train a model together.

    Args:
        model (nn.Module): Of prepare_model.
        cfg (mmcv.Config): The whole config; read are broadcast_buffers, find_unused_parameters, static_graph and
            gradient_compression.
        device (torch.device): Where it is.

    Returns:
        nn.Module: What is trained.

    Raises:
        ConfigError: Switches that exclude each other.
    """
    static, unused = cfg.get('static_graph', False), cfg.get('find_unused_parameters', False)
    if static and unused:
        raise ConfigError('static_graph=True finds parameters that no loss uses in the first iteration, once and for '
                          'all; find_unused_parameters=True looks for them in each: keep one of them')
    if static and (cfg.get('optimizer_config') or {}).get('update_interval', 1) > 1:
        raise ConfigError('static_graph=True needs a step in each iteration: optimizer_config.update_interval is '
                          f'{cfg.optimizer_config.update_interval}, and gradients that are not exchanged are not known '
                          'to it')
    wrapped = DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == 'cuda' else None,
        broadcast_buffers=cfg.get('broadcast_buffers', False),
        find_unused_parameters=unused,
        static_graph=static)
    if cfg.get('gradient_compression') is not None:
        compress_gradients(wrapped, cfg.gradient_compression)
        if 'powerSGD' in str(cfg.gradient_compression) and cfg.get('resume_from'):
            get_root_logger().warning(
                'checkpoints do not hold what PowerSGD has left out of the gradients so far: it begins anew, with '
                'iterations that are not compressed, and this training is not bit for bit the uninterrupted one')
    return wrapped


def make_trainable(model, cfg, device, distributed):
    """The model and the optimizer that a config asks for.

    Args:
        model (nn.Module): An algorithm, built and initialised.
        cfg (mmcv.Config): The whole config.
        device (torch.device): Where it is trained.
        distributed (bool): Whether there is a process group.

    Returns:
        tuple[nn.Module, torch.optim.Optimizer]: What the runner trains.
    """
    sharding = sharding_type(cfg, distributed)
    model = prepare_model(model, cfg, device)
    if sharding == 'fsdp':
        with config_section(cfg, 'sharding'):
            model = shard_model(model, **options_of(cfg.sharding))
    with config_section(cfg, 'optimizer'):
        optimizer = build_optimizer(model, cfg.optimizer)
        if sharding == 'fsdp':
            check_optimizer(optimizer)
    amp = cfg.get('amp') or {}
    if amp.get('master_weights'):
        if sharding:
            raise ConfigError('amp.master_weights=True and sharding exclude each other')
        with config_section(cfg, 'amp'):
            count = keep_master_weights(model, optimizer, half_precision(amp))
        get_root_logger().info('amp.master_weights: %.1f M weights are in %s, beside copies in float32', count / 1e6,
                               amp['dtype'])
    if sharding == 'zero':
        optimizer = shard_optimizer(optimizer)
    if distributed and sharding != 'fsdp':
        model = wrap_model(model, cfg, device)
    return model, optimizer
