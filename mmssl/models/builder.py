# Copyright (c) mmssl contributors. All rights reserved.
"""Registries of everything that makes a model. They are one registry: names are unique over all kinds."""
from mmcv.cnn import MODELS as MMCV_MODELS

from mmssl.utils.registry import Registry

MODELS = Registry('model', parent=MMCV_MODELS)
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
    """Build a loss."""
    return LOSSES.build(cfg)


def build_memory(cfg):
    """Build a memory."""
    return MEMORIES.build(cfg)
