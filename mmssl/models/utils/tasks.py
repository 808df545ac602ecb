# Copyright (c) mmssl contributors. All rights reserved.
"""The settings of several tasks on one backbone, and the stages that they take."""
import math

from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.registry import accepted_arguments
from ..builder import BACKBONES

PARTS = ('head', 'neck')
SETTINGS = ('stages', 'input', 'label', 'weight')


def check_tasks(tasks):
    """See that there are tasks, each with a head, and no setting but those that there are, of their types and ranges.

    Args:
        tasks (dict[str, dict]): Their configs by name.

    Raises:
        ConfigError: They are not.
    """
    if not tasks:
        raise ConfigError('MultiTask needs one task or more, got none')
    for name, task in tasks.items():
        if not isinstance(name, str) or not name or '.' in name or hasattr(nn.ModuleDict, name):
            raise ConfigError(f'a task cannot be called {name!r}: it takes a name without dots that is no method of '
                              'torch.nn.ModuleDict')
        if not isinstance(task, dict):
            raise ConfigError(f'the task {name} is a dict with a head, got {task!r}')
        unknown = [key for key in task if key not in PARTS + SETTINGS]
        if unknown:
            raise ConfigError(f'the task {name} has no {unknown[0]!r}; {nearest(unknown[0], PARTS + SETTINGS)}', task)
        if 'head' not in task:
            raise ConfigError(f'the task {name} needs a head', task)
        weight, stages = task.get('weight'), task.get('stages')
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if weight is not None and not (number and 0 <= weight < math.inf):
            raise ConfigError(f'the weight of the task {name} is a number of 0 or more, got {weight!r}', task)
        if stages is not None and not isinstance(stages, (list, tuple)):
            raise ConfigError(f'the stages of the task {name} are a list such as [4], got {stages!r}', task)
    kinds = {type(stage) for task in tasks.values() for stage in task.get('stages') or ()}
    if len(kinds) > 1:
        raise ConfigError('the stages of all tasks are numbers, or all are names, got '
                          f'{[task.get("stages") for task in tasks.values()]}')


def with_stages(backbone, tasks):
    """The config of a backbone, with the stages of all tasks as its `out_indices` where it has none.

    Args:
        backbone (dict): Its config.
        tasks (dict[str, dict]): Those of the tasks; one without `stages` takes what the backbone gives by default.

    Returns:
        dict: The config; the same where no task names stages.
    """
    stages = {stage for task in tasks.values() for stage in task.get('stages') or ()}
    if not stages or 'out_indices' in backbone:
        return backbone
    cls = BACKBONES.get(backbone['type']) if isinstance(backbone.get('type'), str) else None
    default = None if cls is None else accepted_arguments(cls)[0].get('out_indices')
    if default is None:
        return backbone
    if any(task.get('stages') is None for task in tasks.values()):
        stages.update(default.default)
    return {**backbone, 'out_indices': tuple(sorted(stages))}


def maps_by_stage(backbone, extract, img, wanted):
    """Run a backbone up to the last stage that is wanted.

    Args:
        backbone (Module): It has `out_indices` where a task names stages.
        extract (Callable): Images -> the tuple of maps that the backbone gives.
        img (Tensor): The images.
        wanted (list[list[int] | None]): The stages of each task, None for all that the backbone gives.

    Returns:
        dict: Maps by stage; by None all of them, where that is wanted.
    """
    given = getattr(backbone, 'out_indices', ())
    if None in wanted:
        maps = extract(img)
        return {None: maps, **dict(zip(given, maps))}
    needed = [stage for stage in given if any(stage in stages for stages in wanted)]
    try:
        backbone.out_indices = type(given)(needed)
        maps = extract(img)
    finally:
        backbone.out_indices = given
    return dict(zip(needed if len(maps) == len(needed) else given, maps))  # the stages of some are fixed
