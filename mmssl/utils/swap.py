# Copyright (c) mmssl contributors. All rights reserved.
"""Whole components of a config taken from another file by one option of the command line. Imports nothing heavy."""
import argparse
import re
import warnings
from pathlib import Path

from .config_file import ROOT, find_config, import_modules, read_config
from .config_names import TOP_LEVEL, check_names
from .config_version import check_version
from .errors import ConfigError, nearest, short

# names of classes, which registries know
_CLASS = re.compile(r'([a-z]\w*\.)?[A-Z]\w*')


class Swap:
    """A value that takes the place of another one, whatever that is.

    Attributes:
        value: Of plain types.
        name (str): What the command line calls it.
        files (list[ConfigFile]): Where it is from; none for the name of a class.
    """

    def __init__(self, value, name, files=()):
        self.value, self.name, self.files = value, name, list(files)
        self.compared = False

    def __str__(self):
        return self.name

    def source(self):
        """Words for where the value is from."""
        return str(self.files[0].path) if self.files else f'{self.name} with its default arguments'


class SwapAction(argparse.Action):
    """Collect the components of --swap among the values of --cfg-options, by dotted key."""

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest) or {})
        for text in values:
            place, equals, name = text.rpartition('=')
            if equals and not (place and name):
                parser.error(f'{option_string} takes FILE, KEY=FILE or KEY=CLASS, got {text!r}')
            for key, swap in _components(place, name).items():
                if isinstance(options.get(key), Swap):
                    raise ConfigError(f'--swap takes {key!r} from {options[key]} and from {name}: keep one of them')
                options.setdefault(key, swap)  # a value of --cfg-options overrides what a swap brings
        setattr(namespace, self.dest, options)


def _components(place, name):
    """The values that an item of --swap stands for, by dotted key."""
    top = place.partition('.')[0]
    if place and top not in TOP_LEVEL:
        raise ConfigError(f'--swap {place}={name}: nothing reads {top!r}; {nearest(top, TOP_LEVEL, "settings")}')
    path = _find(name)
    if path is None:
        if not place:
            raise ConfigError(f'--swap {name} is no config file; a class takes the place of a component: --swap '
                              f'optimizer={name}')
        return {place: Swap(dict(type=name), name)}
    values, _, files = read_config(path)
    check_version(values, values.pop('config_version', None), path)
    check_names(values, files)
    if not place:
        found = {key: Swap(value, name, files) for key, value in values.items() if key in TOP_LEVEL}
        if not found:
            raise ConfigError(f'--swap {name}: {path} has no settings')
        return found
    part = values
    for key in place.split('.'):
        try:
            part = part[int(key) if isinstance(part, (list, tuple)) else key]
        except (KeyError, ValueError, IndexError, TypeError):
            known = part if isinstance(part, dict) else range(len(part)) if isinstance(part, (list, tuple)) else ()
            raise ConfigError(
                f'--swap {place}={name}: {path} has no {place!r}; {nearest(key, known, "it has")}') from None
    found = {place: Swap(part, name, files)}
    if values.get('custom_imports'):  # in which the classes may be
        import_modules(values['custom_imports'], files)
    return found


def _find(name):
    """The file by a path, or by the end of a path below a folder configs; None for the name of a class."""
    try:
        return find_config(name)
    except FileNotFoundError:
        pass
    stem = name.removesuffix('.py')
    names = set()
    for folder in (Path('configs'), ROOT / 'configs', ROOT / 'mmssl' / '.mim' / 'configs'):
        there = {path.relative_to(folder).with_suffix('').as_posix(): path for path in folder.rglob('*.py')}
        names.update(Path(key).name for key in there)
        found = [path for key, path in there.items() if f'/{key}'.endswith(f'/{stem}')]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f'--swap: several configs are called {name!r}: {", ".join(map(str, sorted(found)))}; '
                              'give more of the path')
    if _CLASS.fullmatch(name):
        return None
    raise ConfigError(f'--swap: there is no config {name!r} below configs; {nearest(stem, names, "configs")}')


def swap_components(cfg, options):
    """Put components in the places of others.

    Args:
        cfg (mmcv.Config): The config, which is changed.
        options (dict): As of --cfg-options; those that are no Swap are left aside.

    Raises:
        ConfigError: There is no such place.
    """
    from mmcv import ConfigDict
    changed = {}  # by name: whether one of the components of a file does
    for key, swap in options.items():
        if not isinstance(swap, Swap):
            continue
        part, last, present = _place(cfg._cfg_dict, key, swap)
        if not swap.files and not isinstance(present, (dict, type(None))):
            raise ConfigError(f'--swap {key}={swap}: {key} is {short(present)}, which no class takes the place of; '
                              f'--cfg-options {key}={swap} changes it')
        value = ConfigDict(value=swap.value)['value']
        changed[swap.name] = changed.get(swap.name) or present != value or swap.compared
        swap.compared = True  # a run that goes on has it already
        part[last] = value
        if key == 'custom_imports':
            import_modules(swap.value, swap.files)
    for name in [name for name, has in changed.items() if not has]:
        warnings.warn(f'--swap {name} changes nothing: the config has these values already')


def _place(cfg, key, swap):
    """The dict or list that holds a dotted key, the last part of the key, and the present value."""
    names, part = key.split('.'), cfg
    for i, name in enumerate(names):
        last = i == len(names) - 1
        if isinstance(part, (list, tuple)):
            there = range(len(part))
            name = int(name) if name.isdigit() else name
        else:
            there = part.keys() if isinstance(part, dict) else ()
        if name in there:
            if last:
                return part, name, part[name]
            part = part[name]
        elif last and isinstance(part, dict):
            return part, name, None
        else:
            where = '.'.join(names[:i]) or 'the config'
            raise ConfigError(f'--swap {key}={swap}: {where} has no {name!r}; {nearest(name, there, "it has")}')


def swap_notes(options):
    """Lines for the log about what --swap has put in the places of others."""
    return [f'--swap: {key} is that of {swap.source()}' for key, swap in options.items() if isinstance(swap, Swap)]
