# Copyright (c) mmssl contributors. All rights reserved.
"""What the schedules of a training will do, found by asking its own hooks at many positions."""
import copy
import math
from types import SimpleNamespace
from typing import NamedTuple

from mmcv.runner.hooks import LrUpdaterHook
from mmcv.runner.hooks.momentum_updater import MomentumUpdaterHook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError, describe
from .hooks import MomentumUpdateHook, ScheduleHook, SimSiamHook
from .hooks.any_runner import is_known

SCHEDULES = (LrUpdaterHook, MomentumUpdaterHook, MomentumUpdateHook, ScheduleHook, SimSiamHook)


class Curve(NamedTuple):
    """A number along the training.

    Attributes:
        name (str): 'lr' or another option of the optimizer, or an attribute such as 'model.head.teacher_temp'.
        parts (tuple[str]): Parts of the model whose groups have it; () for an attribute of the model.
        values (list[float]): One a position.
    """
    name: str
    parts: tuple
    values: list


def schedule_hooks(runner):
    """The hooks of a runner that set numbers of the optimizer and the model by the position in the training."""
    return [hook for hook in runner.hooks if isinstance(hook, SCHEDULES)]


class _Numbers:
    """Stands for a model, or a part of it, and keeps the numbers that hooks set."""

    def __init__(self, model, values, prefix=''):
        self.__dict__.update(model=model, values=values, prefix=prefix)

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __setattr__(self, name, value):
        self.values[self.prefix + name] = value

    def get_submodule(self, where):
        return _Numbers(self.model.get_submodule(where), self.values, f'{where}.' if where else '')


class _Shadow:
    """A runner at any position, whose optimizer and model hooks may change without an effect on the true ones."""

    def __init__(self, runner):
        self.runner = runner
        groups = [{k: v for k, v in group.items() if k != 'params'} for group in runner.optimizer.param_groups]
        self.optimizer = SimpleNamespace(param_groups=groups, defaults=runner.optimizer.defaults)
        self.values = {}
        self.model = _Numbers(unwrap(runner.model), self.values)

    def __getattr__(self, name):
        return getattr(self.runner, name)


def preview(runner, epoch_length, count=1000, foreign=False):
    """Play the schedules of a runner, whose hooks have had their before_run.

    Args:
        runner (BaseRunner): With an optimizer. It, its hooks, the optimizer and the model stay as they are.
        epoch_length (int): Iterations of an epoch.
        count (int): About how many positions are looked at, besides the ends of warm-ups and of parts.
        foreign (bool): Play the schedules of others too. They may count what they are called, so that it is not for a
            runner that is to train.

    Returns:
        tuple[list[int], list[Curve]]: Positions, in iterations that are done, from 0 to the last; the numbers of the
            optimizer, those that are equal throughout together, and of the model. Rates are always there, others when
            a hook sets them.

    Raises:
        ConfigError: A schedule that fails at some position.
    """
    shadow = _Shadow(runner)
    hooks = [copy.copy(hook) for hook in schedule_hooks(runner) if foreign or is_known(hook)]
    shadow.data_loader = range(epoch_length)
    positions = _positions(shadow, hooks, runner.max_iters, epoch_length, count)
    groups, numbers = [{} for _ in shadow.optimizer.param_groups], {}
    for position in positions:
        _go_to(shadow, hooks, position, epoch_length)
        for found, group in zip(groups, shadow.optimizer.param_groups):
            for name in ('lr', 'weight_decay', 'momentum', 'betas', *_targets(hooks)):
                value = group.get(name)
                if value is not None:
                    found.setdefault(name, []).append(float(value[0] if isinstance(value, (list, tuple)) else value))
        for name, value in shadow.values.items():
            numbers.setdefault(name, []).append(value)
    curves = {}
    for found, group in zip(groups, shadow.optimizer.param_groups):
        for name, values in found.items():
            if name == 'lr' or len(set(values)) > 1:
                curves.setdefault((name, tuple(values)), []).extend(_parts(group))
    order = sorted(curves, key=lambda key: (key[0] != 'lr', key[0]))
    return positions, [
        *(Curve('beta1' if name == 'betas' else name, tuple(dict.fromkeys(curves[name, values])), list(values))
          for name, values in order), *(Curve(f'model.{name}', (), values) for name, values in numbers.items())
    ]


def _targets(hooks):
    """Options of the optimizer that a ScheduleHook sets."""
    targets = {hook.target.rpartition('.') for hook in hooks if isinstance(hook, ScheduleHook)}
    return {name for where, _, name in targets if where == 'optimizer'} - {'lr', 'weight_decay', 'momentum', 'betas'}


def _parts(group):
    return [name.partition('.')[0] for name in group.get('names', ())] or ['all']


def _go_to(shadow, hooks, position, epoch_length):
    shadow.iter, shadow.epoch, shadow.inner_iter = position, position // epoch_length, position % epoch_length
    for hook in hooks:
        try:
            hook.before_train_epoch(shadow)
            hook.before_train_iter(shadow)
        except Exception as error:
            raise ConfigError(f'{type(hook).__name__} fails at iteration {position + 1} of {shadow.max_iters}: '
                              f'{describe(error)}') from error


def _positions(shadow, hooks, total, epoch_length, count):
    """Evenly spread iterations, with those around the ends of warm-ups and of the parts of chains."""
    _go_to(shadow, hooks, 0, epoch_length)  # here mmcv counts a warm-up in iterations
    ends = {0, total}
    for hook in hooks:
        ends.add(getattr(hook, 'warmup_iters', 0) or 0)
        ends.update(math.ceil(begin) for begin in getattr(hook, 'begins', ()))
    spread = {round(i * (total - 1) / max(1, count - 1)) for i in range(count)} if total > count else set(range(total))
    return sorted(p for p in spread.union(*({int(end) - 1, int(end)} for end in ends)) if 0 <= p < total)


def describe_curves(positions, curves, epoch_length, most=4):
    """Curves in words: their first, highest or lowest, and last value.

    Args:
        positions (list[int]): Of preview.
        curves (list[Curve]): Of preview.
        epoch_length (int): Iterations of an epoch.
        most (int): How many of one name are told one by one; of more, the highest and the lowest.

    Returns:
        list[str]: A line each.
    """
    lines = []
    for name in dict.fromkeys(curve.name for curve in curves):
        same = sorted((curve for curve in curves if curve.name == name), key=lambda c: -max(c.values))
        number = len(same)
        for curve in same if number <= most else (same[0], same[-1]):
            what = f'{name}{" of " if curve.parts else ""}{", ".join(curve.parts)}'
            if number > most:
                what += f' ({"highest" if curve is same[0] else "lowest"} of {number})'
            lines.append(f'{what}: {_course(positions, curve.values, epoch_length)}')
    return lines


def _course(positions, values, epoch_length):
    """Values of a curve in words."""
    first, last, high, low = values[0], values[-1], max(values), min(values)
    if high == low:
        return f'{first:g} throughout'
    words = [f'{first:g} at first']
    for extreme, inside in ((high, high > max(first, last)), (low, low < min(first, last))):
        if inside:
            place = positions[values.index(extreme)]
            words.append(f'{extreme:g} after {place} iterations (epoch {place / epoch_length:.2f})')
    return ', '.join([*words, f'{last:g} at last'])
