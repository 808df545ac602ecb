# Copyright (c) mmssl contributors. All rights reserved.
"""Schedules of their own for groups of the optimizer, which paramwise_options name by `schedule`."""
from types import SimpleNamespace

from mmssl.utils.errors import ConfigError, nearest


def groups_of(optimizer, name, names):
    """Groups of one name, or with None as name those that have none of `names`."""
    if name is not None:
        return [group for group in optimizer.param_groups if group.get('schedule') == name]
    return [group for group in optimizer.param_groups if group.get('schedule') not in names]


class _View:
    """A runner whose optimizer has some of its groups only, for hooks that set all groups that they see."""

    def __init__(self, runner, groups, defaults):
        self._runner = runner
        self.optimizer = SimpleNamespace(param_groups=groups, defaults=defaults)

    def __getattr__(self, name):
        return getattr(self._runner, name)


class _OfGroups:
    """Mixed into the hook of a schedule, which then sees the groups of one name, or those of none of `names`."""

    def _view(self, runner):
        groups = groups_of(runner.optimizer, self.group_name, self.group_names)
        defaults = runner.optimizer.defaults
        if self.group_name and groups:  # rates of a schedule of their own are not compared with the optimizer's
            defaults = dict(defaults, lr=max(group.get('initial_lr', group['lr']) for group in groups))
        return _View(runner, groups, defaults)

    def before_run(self, runner):
        super().before_run(self._view(runner))

    def before_train_epoch(self, runner):
        super().before_train_epoch(self._view(runner))

    def before_train_iter(self, runner):
        super().before_train_iter(self._view(runner))


def restricted(kind, name, names):
    """The class of a schedule's hook for a part of the groups.

    Args:
        kind (type): An LrUpdaterHook or MomentumUpdaterHook.
        name (str, optional): Of the groups; None for those that have none of `names`.
        names (Sequence[str]): All that have a schedule of their own.

    Returns:
        type: A subclass.
    """
    return type(kind.__name__, (_OfGroups, kind),
                dict(__module__=kind.__module__, group_name=name, group_names=tuple(names)))


def check_schedules(runner):
    """See that each group with a `schedule` has one, and each schedule has groups.

    Args:
        runner (BaseRunner): With its hooks and optimizer.

    Raises:
        ConfigError: A name on one side alone.
    """
    groups = [group for optimizer in runner._optimizers().values() for group in optimizer.param_groups]
    named = {group['schedule'] for group in groups if 'schedule' in group}
    used = {name for hook in runner.hooks for name in getattr(hook, 'group_names', ())}
    if used - named:
        name = min(used - named)
        raise ConfigError(f'a schedule is for the groups {name!r}, and no option of optimizer.paramwise_options names '
                          f"them: add schedule={name!r} there; {nearest(name, named, 'named')}")
    if named - used:
        name = min(named - used)
        raise ConfigError(f'paramwise_options has schedule={name!r}, and there is no such schedule: add it to '
                          f"lr_config.schedules; {nearest(name, used, 'there are')}")
