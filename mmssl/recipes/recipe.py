# Copyright (c) mmssl contributors. All rights reserved.
"""A config that was chosen, and why."""
import textwrap
from dataclasses import dataclass, field

from mmcv import Config

from mmssl.utils.config_text import config_text
from mmssl.utils.config_version import with_version


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

    @property
    def shown(self):
        """str: The value in few words."""
        text = self.value if isinstance(
            self.value, str) else f'{self.value:g}' if isinstance(self.value, float) else str(self.value)
        return text if len(text) <= 60 else f'{text[:57]}...'

    def stored(self):
        """dict: For the setting `choices` of the config, which the report of the run shows."""
        return dict(name=self.name, value=self.shown, reason=self.reason, fixed=self.fixed)


@dataclass
class Recipe:
    """A config that fits data, device and time.

    Attributes:
        cfg (mmcv.Config): A normal config, complete: tools/train.py trains by it.
        choices (list[Choice]): What was chosen, in the order in which a reader asks.
        warnings (list[str]): What speaks against the training, each with what helps.
        name (str): METHOD_MODEL_DATA, for files and folders.
        facts (dict): What the choices were made by: `data`, `machine` and, where it was measured, `measured`.
    """
    cfg: Config
    choices: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    name: str = 'recipe'
    facts: dict = field(default_factory=dict)

    def lines(self) -> list[str]:
        """list[str]: A line for each choice: what, the value, and why; columns aligned."""
        shown = [(choice.name, choice.shown, choice.reason) for choice in self.choices]
        first, second = (max((len(row[i]) for row in shown), default=0) for i in (0, 1))
        return [f'{name:<{first}}  {value:<{second}}  {reason}' for name, value, reason in shown]

    def comment(self) -> str:
        """str: Lines of comments for the head of a config: the choices with their reasons, and the warnings."""
        lines = []
        for line in [*self.lines(), *(f'Warning: {warning}' for warning in self.warnings)]:
            lines += textwrap.wrap(line, 120, initial_indent='# ', subsequent_indent='#     ')
        return '\n'.join(lines) + '\n'

    def text(self) -> str:
        """str: The config as a file, whose head lists the choices. load_config reads it, and tools/train.py trains."""
        return self.comment() + config_text(with_version(self.cfg))
