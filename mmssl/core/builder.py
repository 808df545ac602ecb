# Copyright (c) mmssl contributors. All rights reserved.
"""Registries of the training machine."""
from mmcv.runner import HOOKS as MMCV_HOOKS
from mmcv.runner.builder import RUNNERS as MMCV_RUNNERS
from mmcv.runner.optimizer import OPTIMIZER_BUILDERS as MMCV_OPTIMIZER_BUILDERS
from mmcv.runner.optimizer import OPTIMIZERS as MMCV_OPTIMIZERS

from mmssl.utils.registry import Registry

HOOKS = Registry('hook', parent=MMCV_HOOKS)
RUNNERS = Registry('runner', parent=MMCV_RUNNERS)
OPTIMIZERS = Registry('optimizer', parent=MMCV_OPTIMIZERS)
OPTIMIZER_BUILDERS = Registry('optimizer constructor', parent=MMCV_OPTIMIZER_BUILDERS)
