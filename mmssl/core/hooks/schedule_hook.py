# Copyright (c) mmssl contributors. All rights reserved.
"""A number that changes in the course of the training."""
import math

from mmcv.runner.hooks import Hook, LrUpdaterHook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from .any_runner import train_loader


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Move a number of the model or of the optimizer from one value to another.

    The value depends on the iteration alone, so that there is nothing to save and a resumed training goes on with it.
    Several numbers take a hook each.

    Args:
        target (str): 'optimizer.weight_decay' or another option of its groups, or an attribute of the model such as
            'head.teacher_temp'. An option of the optimizer is not set in groups where it is 0, such as the weight decay
            of biases; in groups that have a multiple of the optimizer's own value, that multiple is kept.
        start (float): First value.
        end (float): Last value, which stays.
        epochs (float, optional): Epochs until then; by default the whole training.
        mode (str): 'linear', or 'cosine' for half a cosine.
        by_epoch (bool): Hold the value over an epoch. The last epoch of `epochs` then has the last value.

    Raises:
        ConfigError: Another mode, no such number, or one that something else schedules too.
    """

    def __init__(self, target, start, end, epochs=None, mode='linear', by_epoch=False):
        if mode not in ('linear', 'cosine'):
            raise ConfigError(f"ScheduleHook.mode is 'linear' or 'cosine', got {mode!r}")
        if epochs is not None and not epochs > 0:
            raise ConfigError(f'ScheduleHook.epochs must be positive, got {epochs!r}')
        lowest = 0 if target.startswith('optimizer.') else -math.inf
        if not all(math.isfinite(value) and value >= lowest for value in (start, end)):
            raise ConfigError('ScheduleHook: start and end must be finite, and for the optimizer not negative; got '
                              f'{start!r} and {end!r}')
        self.target = target
        self.start = start
        self.end = end
        self.epochs = epochs
        self.mode = mode
        self.by_epoch = by_epoch

    def value(self, done, total):
        """The value after `done` of `total` steps."""
        share = min(1., done / total) if total > 0 else 1.
        if self.mode == 'cosine':
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + (self.end - self.start) * share

    def before_run(self, runner):
        where, _, name = self.target.rpartition('.')
        if sum(isinstance(hook, ScheduleHook) and hook.target == self.target for hook in runner.hooks) > 1:
            raise ConfigError(f'several hooks schedule {self.target!r}, and one would undo the other: keep one')
        if self.target == 'optimizer.lr' and any(isinstance(hook, LrUpdaterHook) for hook in runner.hooks):
            raise ConfigError("ScheduleHook: lr_config sets 'optimizer.lr' as well: keep one of the two")
        if where == 'optimizer':
            base = runner.optimizer.defaults.get(name)
            if not _is_number(base) or not base:
                raise ConfigError(f'ScheduleHook.target: the optimizer has no {name!r} that is a number other than 0; '
                                  f'set optimizer.{name} in the config, such as {self.start}')
            for group in runner.optimizer.param_groups:
                # in the group, which checkpoints hold: its own value is that of the schedule later on
                group.setdefault(f'{name}_share', group[name] / base)
            return
        try:
            part = unwrap(runner.model).get_submodule(where)
        except AttributeError:
            part = None
        if not _is_number(getattr(part, name, None)):
            raise ConfigError(f"ScheduleHook.target: the model has no number {self.target!r}; such as "
                              "'head.teacher_temp' or 'optimizer.weight_decay'")

    def before_train_iter(self, runner):
        length = len(train_loader(runner))
        if self.by_epoch:
            total = self.epochs or runner.max_epochs or runner.max_iters / length
            value = self.value(runner.iter // length, total - 1)
        else:
            value = self.value(runner.iter, runner.max_iters if self.epochs is None else self.epochs * length)
        where, _, name = self.target.rpartition('.')
        if where == 'optimizer':
            for group in runner.optimizer.param_groups:
                group[name] = value * group[f'{name}_share']
        else:
            setattr(unwrap(runner.model).get_submodule(where), name, value)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
