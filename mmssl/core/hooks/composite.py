# Copyright (c) mmssl contributors. All rights reserved.
"""A learning rate that follows a chain of schedules."""
from mmcv.runner.hooks import LrUpdaterHook

from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from ..schedules import Chain
from .any_runner import train_loader


@HOOKS.register_module()
class CompositeLrUpdaterHook(LrUpdaterHook):
    """Learning rates by a chain of parts, such as a warm-up, a cosine and another warm-up.

    The rate depends on the iteration alone, so that a resume goes on with it; where the training has become longer,
    shares are those of the new length. mmcv's `warmup` is a part here.

    Args:
        parts (list[dict]): Of mmssl.core.schedules.Chain.
        relative (bool): The values are factors of each group's own rate. By default they are rates for groups with
            the rate of the optimizer (`optimizer.lr`); groups with another one keep their ratio to it.
        by_epoch (bool): Hold the rate over an epoch, at its value for the epoch's first iteration.

    Raises:
        ConfigError: Parts that make no schedule, or that do not fill the training.
    """

    def __init__(self, parts, relative=False, by_epoch=False):
        super().__init__(by_epoch=by_epoch)
        self.chain = Chain(parts, lowest=0, what='lr_config')
        self.relative = relative
        self.by_epoch = by_epoch
        self._schedule = None

    def before_run(self, runner):
        super().before_run(runner)
        self._epoch_length = len(train_loader(runner))
        self._schedule = self.chain.fit(runner.max_iters, self._epoch_length)
        self._unit = 1. if self.relative else runner.optimizer.defaults.get('lr')
        if not self._unit:
            raise ConfigError('the parts of lr_config are rates for groups with the rate optimizer.lr, which is '
                              f'{self._unit!r}: set it to the highest of them')
        highest = max(self.chain.values)
        if not self.relative and abs(highest - self._unit) > 1e-9 * self._unit:
            runner.logger.info(
                'the highest rate of lr_config is %g, optimizer.lr is %g: the parts set the rate, and '
                'optimizer.lr is what groups with a rate of their own are compared with', highest, self._unit)

    @property
    def begins(self):
        """list[float]: Where the parts begin, in iterations."""
        return getattr(self._schedule, 'begins', [])

    def get_lr(self, runner, base_lr):
        done = runner.epoch * self._epoch_length if self.by_epoch else runner.iter
        return base_lr / self._unit * self._schedule(done)
