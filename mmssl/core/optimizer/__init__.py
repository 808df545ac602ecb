# Copyright (c) mmssl contributors. All rights reserved.
from .builder import DefaultOptimizerConstructor, build_optimizer
from .lars import LARS

__all__ = ['DefaultOptimizerConstructor', 'LARS', 'build_optimizer']
