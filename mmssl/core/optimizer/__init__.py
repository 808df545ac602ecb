# Copyright (c) mmssl contributors. All rights reserved.
from .builder import DefaultOptimizerConstructor, build_optimizer
from .larc import LARC
from .lars import LARS
from .transformer_finetune_constructor import TransformerFinetuneConstructor

__all__ = ['DefaultOptimizerConstructor', 'LARC', 'LARS', 'TransformerFinetuneConstructor', 'build_optimizer']
