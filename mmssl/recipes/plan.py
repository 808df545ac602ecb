# Copyright (c) mmssl contributors. All rights reserved.
"""A config while it is chosen: values by dotted keys, each with its reason, and what the user fixed."""
import copy

from mmcv import Config

from mmssl.utils.config import check_sections, find_value, override
from mmssl.utils.config_names import SECTIONS, check_options, check_settings
from mmssl.utils.errors import ConfigError, check_integer, short
from .recipe import Choice


class Plan:
    """A config, what was chosen in it, and what speaks against it.

    Args:
        cfg (mmcv.Config): What the choices start from.
        settings (dict, optional): Value by dotted key that the user fixed; they win over every choice.

    Attributes:
        cfg (mmcv.Config): The config so far.
        choices (list[Choice]): So far.
        warnings (list[str]): So far.
    """

    def __init__(self, cfg, settings=None):
        self.cfg = cfg
        self.settings = dict(settings or {})
        if str(self.settings.get('custom_hooks', '')).lower() == 'none':
            self.settings['custom_hooks'] = []
        self.choices, self.warnings = [], []
        try:
            check_options(cfg, self.settings)
            _check_kinds(cfg, self.settings)
        except ConfigError as error:
            error.message = error.message.replace('--cfg-options', 'settings')
            raise

    def get(self, key, default=None):
        """The value of a dotted key so far, `default` where there is none."""
        value = find_value(self.cfg, key)
        return default if value is None else value

    def put(self, key, value):
        """Set a value without saying so, such as a size that follows from a choice."""
        *parents, last = key.split('.')
        part = self.cfg
        for i, name in enumerate(parents, 1):
            found = part[int(name)] if isinstance(part, (list, tuple)) else part.get(name)
            if found is None:
                part[name] = found = {}
                found = part[name]
            if not isinstance(found, (dict, list, tuple)):  # what the user has put there
                raise ConfigError(f'settings: {".".join(parents[:i])} is a dict of settings, got {short(found)}; a '
                                  f'dotted key sets one of them, such as {key}=...')
            part = found
        if isinstance(part, list):
            part[int(last)] = value
        else:
            part[last] = value
        self._fix(key)

    def choose(self, name, reason, values, shown=None):
        """Set values that belong together, and say why.

        Args:
            name (str): What is chosen, in words.
            reason (str): One sentence without its full stop.
            values (dict): Value by dotted key.
            shown (object, optional): What is printed in the place of the first value.

        Returns:
            The first value, as it is then: where the user has fixed it, the user's.
        """
        for key, value in values.items():
            self.put(key, value)
        first = next(iter(values))
        fixed = [key for key in values if self.given(key)]
        value = self.get(first)
        if fixed:
            shown = self.get(fixed[0])
            reason = 'given'
        shown = copy.deepcopy(value) if shown is None else shown
        self._tell(Choice(name, tuple(values), shown, reason, bool(fixed)))
        return value

    def given(self, key):
        """bool: Whether the user fixed a dotted key, or a section that has it."""
        if key in self.settings:
            return True
        parts = key.split('.')
        for i in range(1, len(parts)):
            section = self.settings.get('.'.join(parts[:i]))
            if isinstance(section, dict) and find_value(section, '.'.join(parts[i:])) is not None:
                return True
        return False

    def note(self, name, value, reason, fixed=False):
        """Say what was chosen, where it stands in no single key, such as the method."""
        self._tell(Choice(name, (), value, reason, fixed))

    def _tell(self, choice):
        """List a choice; one that is made again keeps its place."""
        places = [i for i, other in enumerate(self.choices) if other.name == choice.name]
        if places:
            self.choices[places[0]] = choice
        else:
            self.choices.append(choice)

    def warn(self, words):
        """Say what speaks against the training, once."""
        if words not in self.warnings:
            self.warnings.append(words)

    def _fix(self, key):
        """Put the user's values of a key, and of those below it, over what was chosen."""
        own = {
            name: value
            for name, value in self.settings.items()
            if name == key or name.startswith(f'{key}.') or key.startswith(f'{name}.')
        }
        if own:
            override(self.cfg, own)

    def apply_settings(self):
        """Put all of the user's settings over the choices.

        Raises:
            ConfigError: A key leads nowhere.
        """
        if self.settings:
            override(self.cfg, self.settings)

    def finish(self):
        """Put all of the user's settings over the choices, and list those that are no choice of ours.

        Raises:
            ConfigError: A key leads nowhere.
        """
        self.apply_settings()
        self.cfg = plain(self.cfg)  # dicts that were put into it become parts of the config
        chosen = {key for choice in self.choices for key in choice.keys}
        for key in self.settings:
            if key not in chosen:
                self.choices.append(Choice(key, (key, ), find_value(self.cfg, key), 'given', True))
        return self.cfg


def _check_kinds(cfg, settings):
    """See that settings which choices are computed from have their types, and that no needed part is taken away.

    Raises:
        ConfigError: With the setting and what would be right.
    """
    sections = {*SECTIONS, 'runner'}
    trial = plain(cfg)
    override(
        trial, {
            key: value
            for key, value in settings.items()
            if key.count('.') == 0 or key.count('.') == 1 and key.split('.')[0] in sections
        })
    check_settings(trial)
    check_sections(trial, ('model', 'data.train', 'data.samples_per_gpu', 'optimizer', 'runner'))
    check_integer(trial.data.samples_per_gpu, 'data.samples_per_gpu', 1)
    if trial.runner.get('max_epochs') is not None:
        check_integer(trial.runner.max_epochs, 'runner.max_epochs', 1)


def plain(cfg):
    """A config as a copy that may be changed.

    Args:
        cfg (mmcv.Config): The config.

    Returns:
        mmcv.Config: The copy.
    """
    if not isinstance(cfg, Config):
        raise ConfigError(f'a config is a mmcv.Config, got {cfg!r}')
    return Config(cfg._cfg_dict.to_dict())
