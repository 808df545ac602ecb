# Copyright (c) mmssl contributors. All rights reserved.
"""The start of DenseCL."""
from mmcv.runner.hooks import Hook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS


@HOOKS.register_module()
class DenseCLHook(Hook):
    """Leave the loss of positions out in the first iterations (DenseCL, https://arxiv.org/abs/2011.09157).

    The correspondences of a network that has learned nothing are noise. The model's `loss_lambda` is 0 until
    `start_iters` iterations are done, and then what the model was built with.

    Args:
        start_iters (int): Iterations of the whole training without that loss.
    """

    def __init__(self, start_iters=1000):
        self.start_iters = start_iters

    def before_run(self, runner):
        model = unwrap(runner.model)
        if not hasattr(model, 'loss_lambda'):
            raise ConfigError(f'DenseCLHook drives loss_lambda, which {type(model).__name__} does not have; take the '
                              'hook out of custom_hooks')
        self.loss_lambda = model.loss_lambda

    def before_train_iter(self, runner):
        unwrap(runner.model).loss_lambda = self.loss_lambda if runner.iter >= self.start_iters else 0.

    def after_run(self, runner):
        unwrap(runner.model).loss_lambda = self.loss_lambda
