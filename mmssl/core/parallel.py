# Copyright (c) mmssl contributors. All rights reserved.
"""A model and its optimizer as they are trained: on their device, compiled, over several processes."""
import torch

from .distributed import DistributedDataParallel
from .optimizer import build_optimizer


def prepare_model(model, cfg, device):
    """Put a model on its device and change its parts as the switches of a config say, before the optimizer is built.

    Args:
        model (nn.Module): An algorithm, built and initialised.
        cfg (mmcv.Config): The whole config; read are channels_last and compile.
        device (torch.device): Where it is trained.

    Returns:
        nn.Module: The model.
    """
    model = model.to(device)
    if cfg.get('channels_last'):
        model = model.to(memory_format=torch.channels_last)
    if cfg.get('compile'):
        for part in model.compile_parts():
            part.compile()
    return model


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
    model = prepare_model(model, cfg, device)
    optimizer = build_optimizer(model, cfg.optimizer)
    if distributed:
        model = wrap_model(model, cfg, device)
    return model, optimizer
