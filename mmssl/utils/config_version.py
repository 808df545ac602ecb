# Copyright (c) mmssl contributors. All rights reserved.
"""The version of a config, and what has changed since an older one. Imports nothing heavy."""
import warnings
from typing import Callable, NamedTuple

from .errors import ConfigError, check_integer

CONFIG_VERSION = 2  # raised by each change of what a config means


class Change(NamedTuple):
    """What a config means since a version.

    Attributes:
        version (int): The first with the change.
        names (tuple[str]): Classes and settings; a config that has one of them, at whatever depth, is concerned.
        what (str): What differs.
        adapt (str): What to do.
        when (callable): Whether a value of such a setting is one that means something else now.
    """
    version: int
    names: tuple
    what: str
    adapt: str
    when: Callable = lambda value: True


# version 1 is release 0.1.0
CHANGES = (
    Change(2, ('ColorJitter', ),
           'ColorJitter rounds in fewer places: pixels differ by up to 5 grey levels, by 0.7 on average',
           'nothing helps to repeat an old training bit for bit; the strengths and the random numbers are the same'),
    Change(2, ('NPID', ), 'the negatives of NPID depend on seed, sample and iteration alone',
           'nothing; other negatives are drawn than in an old training'),
    Change(2, ('IterBasedRunner', ),
           'all hooks count iterations under IterBasedRunner, EMAHook and KNNEvalHook included',
           'give their intervals in iterations'),
    Change(2, ('out_indices', ), 'backbones return stages in the order of out_indices',
           'write them in the order that neck and head expect', lambda stages: list(stages) != sorted(stages)),
    Change(2, ('max_keep_ckpts', ), 'max_keep_ckpts of 4 or more keeps that many checkpoints',
           'see that the disk has the space', lambda number: number >= 4),
    Change(2, ('load_from', 'init_cfg'),
           'a checkpoint of another network is an error, and so is a frozen part that it does not fill',
           'name parts that may differ in load_from_mismatch'),
    Change(
        2, ('evaluation', ),
        'labels of data.val are matched with those of data.train by the names of the classes, and broken images are '
        'left out of evaluations', 'look at the first lines of the log, which name differences'),
)


def check_version(cfg, version, path):
    """Tell what has changed since the version of a config. One without a version is told nothing.

    Args:
        cfg (dict): The settings.
        version (int | None): Its config_version.
        path (str | Path): The file, for messages.

    Raises:
        ConfigError: It is no version, or of a newer mmssl.
    """
    if version is None:
        return
    check_integer(version, 'config_version', 1)
    if version > CONFIG_VERSION:
        raise ConfigError(f'{path} has config_version={version}, and this mmssl knows those up to {CONFIG_VERSION}: '
                          'update mmssl; or set config_version to that, if nothing in the config is newer')
    found = [change for change in CHANGES if change.version > version and _concerns(change, cfg)]
    if found:
        lines = ''.join(f'\n  {change.what}: {change.adapt}' for change in found)
        warnings.warn(f'{path} has config_version={version}, and what it means has changed since '
                      f'(config_version={CONFIG_VERSION} silences this):{lines}')


def _concerns(change, value):
    if isinstance(value, dict):
        return value.get('type') in change.names or any(
            key in change.names and part is not None and change.when(part) or _concerns(change, part)
            for key, part in value.items())
    return isinstance(value, (list, tuple)) and any(_concerns(change, part) for part in value)


def with_version(cfg):
    """The settings of a config, with the present version before them, to be saved."""
    return {'config_version': CONFIG_VERSION, **{key: value for key, value in cfg.items() if key != 'config_version'}}
