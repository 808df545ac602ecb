# Copyright (c) mmssl contributors. All rights reserved.
"""Schedule and update of a momentum encoder."""
import math

from mmcv.runner.hooks import Hook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from ..schedules import Chain
from .any_runner import train_loader


@HOOKS.register_module(name=['MomentumUpdateHook', 'BYOLHook'])
class MomentumUpdateHook(Hook):
    """Raise the momentum from the model's `base_momentum` to `end_momentum`, and update.

    In iteration k of K of the whole training the momentum is
    `end - (end - base) * (cos(pi * k / K) + 1) / 2`; with an end of 1 that is equation in section 3.3 of BYOL
    (https://arxiv.org/abs/2006.07733). With mode='linear' it is `base + (end - base) * k / K`, as in MSN and
    I-JEPA. The encoder is updated whenever the optimizer's turn was, so that gradients which accumulate over n
    iterations go with one update in n. A step that the loss scale of float16 leaves out has its update too, as in the
    code of DINO: to know of it, the host would have to wait for the device.

    Args:
        end_momentum (float): Momentum at the end of the training.
        update_interval (int): The optimizer hook's update_interval, which it must equal.
        mode (str): 'cosine' or 'linear'.
        parts (list[dict] | None): A chain of momenta instead, see mmssl.core.schedules.Chain; base_momentum,
            end_momentum and mode then mean nothing.

    Raises:
        ConfigError: Another mode, or a momentum that is not from 0 to 1.
    """

    def __init__(self, end_momentum=1.0, update_interval=1, mode='cosine', parts=None):
        if mode not in ('cosine', 'linear'):
            raise ConfigError(f"{type(self).__name__}.mode is 'cosine' or 'linear', got {mode!r}")
        if parts is not None and (end_momentum != 1 or mode != 'cosine'):
            raise ConfigError(f'{type(self).__name__}.parts have their own values: leave end_momentum and mode out')
        self.chain = None if parts is None else Chain(parts, lowest=0, what=type(self).__name__)
        if self.chain is not None and max(self.chain.values) > 1:
            raise ConfigError(f'{type(self).__name__}.parts: a momentum is from 0 to 1, got {max(self.chain.values)}')
        self._schedule = None
        self.mode = mode
        self.end_momentum = end_momentum
        self.update_interval = update_interval

    def before_run(self, runner):
        model = unwrap(runner.model)
        if self.chain is not None:
            self._schedule = self.chain.fit(runner.max_iters, len(train_loader(runner)))
        for name in ('base_momentum', 'momentum', 'momentum_update'):
            if not hasattr(model, name):
                raise ConfigError(f'{type(self).__name__} drives a momentum encoder, and {type(model).__name__} has '
                                  f'no {name!r}; take the hook out of custom_hooks')
        for place, value in {
                'model.base_momentum': model.base_momentum,
                f'{type(self).__name__}.end_momentum': self.end_momentum
        }.items():
            if not 0 <= value <= 1:
                raise ConfigError(f'{place} is a share of the momentum encoder, 0 to 1, got {value!r}')
        for hook in runner.hooks:
            interval = getattr(hook, 'update_interval', None)
            if hasattr(hook, 'grad_clip') and interval not in (None, self.update_interval):
                raise ConfigError(f'the optimizer makes a step every {interval} iterations (optimizer_config.'
                                  f'update_interval), the momentum encoder is updated every {self.update_interval} '
                                  f'({type(self).__name__}.update_interval): set both to {interval}')

    @property
    def begins(self):
        """list[float]: Where the parts begin, in iterations."""
        return getattr(self._schedule, 'begins', [])

    def before_train_iter(self, runner):
        model = unwrap(runner.model)
        if self.chain is not None:
            model.momentum = self._schedule(runner.iter)
            return
        done = runner.iter / runner.max_iters
        falling = 1 - done if self.mode == 'linear' else (math.cos(math.pi * done) + 1) / 2
        model.momentum = self.end_momentum - (self.end_momentum - model.base_momentum) * falling

    def after_train_iter(self, runner):
        model = unwrap(runner.model)
        if getattr(model, 'is_update_iter', True):
            model.momentum_update()
