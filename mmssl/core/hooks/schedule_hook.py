# Copyright (c) mmssl contributors. All rights reserved.
"""A number that changes in the course of the training."""
import math

from mmcv.runner.hooks import Hook, LrUpdaterHook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from ..schedules import SHAPES, Chain
from .any_runner import train_loader
from .group_schedules import groups_of


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Move a number of the model or of the optimizer from one value to another, or along a chain of schedules.

    The value depends on the iteration alone, so that there is nothing to save and a resumed training goes on with it.
    Several numbers take a hook each.

    Args:
        target (str): 'optimizer.weight_decay' or another option of its groups, or an attribute of the model such as
            'head.teacher_temp'. An option of the optimizer is not set in groups where it is 0, such as the weight decay
            of biases; in groups that have a multiple of the optimizer's own value, that multiple is kept.
        start (float | None): First value.
        end (float | None): Last value, which stays.
        epochs (float, optional): Epochs until then; by default the whole training.
        mode (str): 'linear', or 'cosine' for half a cosine.
        by_epoch (bool): Hold the value over an epoch. The last epoch of `epochs` then has the last value; a chain has
            its values for the first iterations of the epochs.
        parts (list[dict] | None): Of mmssl.core.schedules.Chain, instead of start, end, epochs and mode.
        schedule (str | None): Groups of the optimizer, by the name that they have in paramwise_options; the values are
            then for the highest of them. By default all groups that no other hook for this target names.

    Raises:
        ConfigError: Another mode, no such number, or one that something else schedules too.
    """

    rates = ('start', 'end', 'parts')  # which auto_scale_lr multiplies where the target is a rate

    def __init__(self,
                 target,
                 start=None,
                 end=None,
                 epochs=None,
                 mode='linear',
                 by_epoch=False,
                 parts=None,
                 schedule=None):
        if schedule is not None and not target.startswith('optimizer.'):
            raise ConfigError(f'ScheduleHook.schedule names groups of the optimizer, and the target is {target!r}')
        lowest = 0 if target.startswith('optimizer.') else -math.inf
        if (parts is None) == (start is None) or (start is None) != (end is None):
            raise ConfigError('ScheduleHook takes start and end, or parts')
        if parts is not None and (epochs is not None or mode != 'linear'):
            raise ConfigError('ScheduleHook.parts have their own types and lengths: leave epochs and mode out')
        if mode not in ('linear', 'cosine'):
            raise ConfigError(f"ScheduleHook.mode is 'linear' or 'cosine', got {mode!r}")
        if epochs is not None and not epochs > 0:
            raise ConfigError(f'ScheduleHook.epochs must be positive, got {epochs!r}')
        if parts is None and not all(math.isfinite(value) and value >= lowest for value in (start, end)):
            raise ConfigError('ScheduleHook: start and end must be finite, and for the optimizer not negative; got '
                              f'{start!r} and {end!r}')
        self.target = target
        self.start = start
        self.end = end
        self.epochs = epochs
        self.shape = SHAPES[mode]
        self.by_epoch = by_epoch
        self.schedule = schedule
        self.group_names = () if schedule is None else (schedule, )
        self._others = ()
        self.chain = None if parts is None else Chain(parts, lowest, what=f'the ScheduleHook of {target}')
        self.first = start if parts is None else self.chain.values[0]
        self._schedule = None

    @property
    def begins(self):
        """list[float]: Where the parts begin, in iterations."""
        return getattr(self._schedule, 'begins', [])

    def value(self, runner):
        """The value of the iteration that comes next."""
        length = len(train_loader(runner))
        epoch = runner.iter // length
        if self.chain is not None:
            return self._schedule(epoch * length if self.by_epoch else runner.iter)
        done, total = runner.iter, runner.max_iters if self.epochs is None else self.epochs * length
        if self.by_epoch:
            done, total = epoch, (self.epochs or runner.max_epochs or runner.max_iters / length) - 1
        return self.shape(min(1., done / total) if total > 0 else 1., self.start, self.end)

    def before_run(self, runner):
        if self.chain is not None:
            self._schedule = self.chain.fit(runner.max_iters, len(train_loader(runner)))
        where, _, name = self.target.rpartition('.')
        same = [hook.schedule for hook in runner.hooks if isinstance(hook, ScheduleHook) and hook.target == self.target]
        if same.count(self.schedule) > 1:
            raise ConfigError(f'several hooks schedule {self.target!r}, and one would undo the other: keep one')
        self._others = set(same) - {None}
        if self.target == 'optimizer.lr' and any(isinstance(hook, LrUpdaterHook) for hook in runner.hooks):
            raise ConfigError("ScheduleHook: lr_config sets 'optimizer.lr' as well: keep one of the two")
        if where == 'optimizer':
            base = runner.optimizer.defaults.get(name)
            if not _is_number(base) or not base:
                raise ConfigError(f'ScheduleHook.target: the optimizer has no {name!r} that is a number other than 0; '
                                  f'set optimizer.{name} in the config, such as {self.first}')
            groups = groups_of(runner.optimizer, self.schedule, self._others)
            for group in groups:
                # in the group, which checkpoints hold: its own value is that of the schedule later on
                group.setdefault(f'initial_{name}', group[name])
            # the values of groups with a schedule of their own are not compared with the optimizer's
            self._base = base if self.schedule is None else max(group[f'initial_{name}'] for group in groups)
            return
        try:
            part = unwrap(runner.model).get_submodule(where)
        except AttributeError:
            part = None
        if not _is_number(getattr(part, name, None)):
            raise ConfigError(f'ScheduleHook.target: the model has no number {self.target!r}; such as '
                              "'head.teacher_temp' or 'optimizer.weight_decay'")

    def before_train_iter(self, runner):
        value = self.value(runner)
        where, _, name = self.target.rpartition('.')
        if where == 'optimizer':
            for group in groups_of(runner.optimizer, self.schedule, self._others):
                if group[f'initial_{name}']:
                    group[name] = value * (group[f'initial_{name}'] / self._base)
        else:
            setattr(unwrap(runner.model).get_submodule(where), name, value)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
