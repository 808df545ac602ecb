# Copyright (c) mmssl contributors. All rights reserved.
"""A config that was chosen, and why."""
from dataclasses import dataclass, field

from mmcv import Config


@dataclass
class Choice:
    """One value that was chosen.

    Attributes:
        name (str): What was chosen, in words, such as 'batch size'.
        keys (tuple[str]): Dotted keys of the config that hold it.
        value (object): What was taken.
        reason (str): One sentence that says why.
        fixed (bool): Whether the user gave it.
    """
    name: str
    keys: tuple
    value: object
    reason: str
    fixed: bool = False


@dataclass
class Recipe:
    """A config that fits data, device and time.

    Attributes:
        cfg (mmcv.Config): A normal config, complete: tools/train.py trains by it.
        choices (list[Choice]): What was chosen, in the order in which a reader asks.
        warnings (list[str]): What speaks against the training, each with what helps.
    """
    cfg: Config
    choices: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
