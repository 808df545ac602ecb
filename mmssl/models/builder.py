# Copyright (c) mmssl contributors. All rights reserved.
"""Registries of everything that makes a model. They are one registry: names are unique over all kinds."""
import functools

import torch
from mmcv.cnn import MODELS as MMCV_MODELS
from torch import nn

from mmssl.utils.errors import ConfigError, short
from mmssl.utils.registry import Registry


@functools.lru_cache(maxsize=None)
def _unregistered():
    """Losses by name that are not registered, since a user may have registered a class of one of these names."""
    from .losses import CrossEntropyLoss, MultiLabelLoss
    losses = {name: loss for name, loss in vars(nn).items() if name.endswith('Loss')}
    return {**losses, 'CrossEntropyLoss': CrossEntropyLoss, 'MultiLabelLoss': MultiLabelLoss}


class _Models(Registry):
    """A registry that finds, under names which nobody registered, our losses and those of torch.nn."""

    def get(self, key):
        found = super().get(key)
        return _unregistered().get(key) if found is None else found

    def names(self):
        return [*super().names(), *_unregistered()]


MODELS = _Models('model', parent=MMCV_MODELS)
ALGORITHMS = MODELS
BACKBONES = MODELS
NECKS = MODELS
HEADS = MODELS
LOSSES = MODELS
MEMORIES = MODELS


def build_algorithm(cfg):
    """Build an algorithm (backbone, neck, head, memory and how they train)."""
    return ALGORITHMS.build(cfg)


def build_backbone(cfg):
    """Build a backbone."""
    return BACKBONES.build(cfg)


def build_neck(cfg):
    """Build a neck."""
    return NECKS.build(cfg)


def build_head(cfg):
    """Build a head."""
    return HEADS.build(cfg)


def build_loss(cfg):
    """Build a loss.

    Args:
        cfg (dict): Its config. A `type` that is not registered is the name of a class of torch.nn, such as
            'SmoothL1Loss', or of losses/modules.py; `weight` and `pos_weight` may be lists of numbers.

    Returns:
        nn.Module: The loss.
    """
    listed = {}
    for key in ('weight', 'pos_weight'):
        if isinstance(cfg, dict) and isinstance(cfg.get(key), (list, tuple)):
            if not all(isinstance(value, (int, float)) for value in cfg[key]):
                raise ConfigError(f'{key} of a loss is a number for each class, got {short(cfg[key])}', cfg)
            listed[key] = torch.tensor(cfg[key], dtype=torch.float32)
    try:
        return LOSSES.build({**cfg, **listed} if listed else cfg)
    except ConfigError as error:
        error.cfg = cfg  # that of the copy is at no place of the whole config
        raise


def build_memory(cfg):
    """Build a memory."""
    return MEMORIES.build(cfg)
