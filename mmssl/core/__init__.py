# Copyright (c) mmssl contributors. All rights reserved.
from .builder import HOOKS, OPTIMIZER_BUILDERS, OPTIMIZERS, RUNNERS
from .distributed import DistributedDataParallel
from .evaluation import collect_outputs, multi_gpu_test, single_gpu_test
from .hooks import *  # noqa: F401,F403
from .hooks import __all__ as _hooks
from .optimizer import LARS, DefaultOptimizerConstructor, TransformerFinetuneConstructor, build_optimizer
from .runner import EpochBasedRunner, IterBasedRunner, build_runner

__all__ = [
    'HOOKS', 'OPTIMIZERS', 'OPTIMIZER_BUILDERS', 'RUNNERS', 'DefaultOptimizerConstructor', 'DistributedDataParallel',
    'EpochBasedRunner', 'IterBasedRunner', 'LARS', 'TransformerFinetuneConstructor', 'build_optimizer', 'build_runner',
    'collect_outputs', 'multi_gpu_test', 'single_gpu_test', *_hooks
]
