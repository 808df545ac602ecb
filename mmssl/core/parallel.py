# Copyright (c) mmssl contributors. All rights reserved.
"""A model and its optimizer as they are trained: on their device, compiled, over several processes."""
import torch

from mmssl.models.utils.norm import SyncBatchNorm, synchronise_batch_norms
from mmssl.utils.config import config_section
from mmssl.utils.dist import neighbours_group
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.logger import get_root_logger
from .activation_checkpointing import checkpoint_activations
from .distributed import DistributedDataParallel
from .optimizer import build_optimizer
from .sharding import options_of, shard_model, shard_optimizer, sharding_type


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
        for part in model.compile_parts():
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
        cfg (mmcv.Config): The whole config; read are broadcast_buffers and find_unused_parameters.
        device (torch.device): Where it is.

    Returns:
        nn.Module: What is trained.
    """
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == 'cuda' else None,
        broadcast_buffers=cfg.get('broadcast_buffers', False),
        find_unused_parameters=cfg.get('find_unused_parameters', False))


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
    if sharding == 'zero':
        optimizer = shard_optimizer(optimizer)
    if distributed and sharding != 'fsdp':
        model = wrap_model(model, cfg, device)
    return model, optimizer
