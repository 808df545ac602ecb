# Copyright (c) mmssl contributors. All rights reserved.
"""Config files and options of the command line. Imports mmcv only when a config is read."""
import argparse
import contextlib
import difflib

from .config_file import find_config, import_modules, read_config
from .config_names import TOP_LEVEL, check_names, check_options, check_settings
from .config_version import check_version
from .errors import ConfigError, find_path
from .swap import Swap, SwapAction, swap_components


def parse_value(text, words=False):
    """Read a value of --cfg-options.

    Args:
        text (str): A number, true, false, None, a list such as 1,2 or [a,b] or [(train,1),(val,1)], else a string.
            What stands in quotes is a string.
        words (bool): Whether numbers and truth values are strings too.

    Returns:
        The value.

    Raises:
        ConfigError: Brackets without their counterpart.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"' and text[0] not in text[1:-1]:
        return text[1:-1]
    parts = _split(text)
    if len(parts) > 1:
        return [parse_value(part, words) for part in parts if part.strip()]
    if text[:1] in ('(', '[') and text[-1:] in (')', ']'):
        inner = [parse_value(part, words) for part in _split(text[1:-1]) if part.strip()]
        return tuple(inner) if text[0] == '(' else inner
    if words:
        return None if text.lower() == 'none' else text
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {'true': True, 'false': False, 'none': None}.get(text.lower(), text)


def _split(text):
    """The parts of a text between the commas that stand in no brackets and no quotes."""
    parts, depth, quote, start = [], 0, '', 0
    for i, character in enumerate(text):
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"' and not text[start:i].strip('([ '):
            quote = character
        elif character in '()[]':
            depth += 1 if character in '([' else -1
        elif character == ',' and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth:
        raise ConfigError(f'unbalanced brackets in {text!r}')
    return [*parts, text[start:]]


class OptionText(str):
    """Text of a value of --cfg-options. It is read when the present value of its key is known."""


class DictAction(argparse.Action):
    """Collect KEY=VALUE arguments in a dict. The option may be given several times."""

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest) or {})
        for item in values:
            key, equals, value = item.partition('=')
            if not equals or not key:
                parser.error(f'{option_string} takes KEY=VALUE, got {item!r}')
            options[key] = OptionText(value)
        setattr(namespace, self.dest, options)


def add_cfg_options(parser):
    """Give an argument parser the options --cfg-options and --swap, both of which end in `cfg_options`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config: dotted keys, list indices among them, such as '
        'data.train.pipeline.1.p=0.0 or workflow="[(train,1),(val,1)]"')
    parser.add_argument(
        '--swap',
        nargs='+',
        action=SwapAction,
        dest='cfg_options',
        default={},
        metavar='[KEY=]FILE',
        help='put the settings of another config file (a path, or a name below configs, such as '
        'lars_coslr-200e_in1k) in the places of those of the config; KEY=FILE takes one component of the file, '
        'KEY=CLASS is a class with its default arguments. --cfg-options are applied after')


def load_config(path, cfg_options=None, own=()):
    """Read a config file with its bases, and override settings.

    Args:
        path (str | Path | mmcv.Config): Python, YAML or JSON file, in the current folder or in the clone. Modules
            named in its custom_imports are imported.
        cfg_options (dict, optional): Value by dotted key; an integer in a key is an index into a list.
        own (Sequence[str]): Names at the top level that the caller reads and that are no settings.

    Returns:
        mmcv.Config: The settings, without the variables of the file.

    Raises:
        FileNotFoundError: There is no such file, or no such base.
        ConfigError: The file cannot be understood, holds a name that nobody reads or a value of a wrong type, or an
            option does.
    """
    from mmcv import Config
    cfg, files = path, []
    if not isinstance(path, Config):
        values, text, files = read_config(find_config(path))
        version = (cfg_options or {}).get('config_version', values.get('config_version'))
        check_version(values, parse_value(version) if isinstance(version, OptionText) else version, path)
        check_names(values, files, own)
        check_options(values, cfg_options or {}, own)
        if values.get('custom_imports'):
            import_modules(values['custom_imports'], files)
        # variables have done their work; with other options they would not be what they were
        values = {name: value for name, value in values.items() if name in TOP_LEVEL or name in own}
        cfg = Config(values, cfg_text=text, filename=str(path))
    elif cfg_options:
        check_options(cfg, cfg_options, own)
    if cfg_options:
        swap_components(cfg, cfg_options)
        override(cfg, {key: value for key, value in cfg_options.items() if not isinstance(value, Swap)})
        if cfg.get('custom_imports') and any(key.partition('.')[0] == 'custom_imports' for key in cfg_options):
            import_modules(cfg.custom_imports, files)
    check_settings(cfg)
    return cfg


def override(cfg, options):
    """Set values in a config, whatever their names.

    Args:
        cfg (mmcv.Config): The config, which is changed.
        options (dict): Value by dotted key. Texts of the command line are read by what they replace: where a string
            is, or a list of strings, a text stays a text.

    Raises:
        ConfigError: A key leads nowhere.
    """
    options = {key: _typed(value, find_value(cfg, key)) for key, value in options.items()}
    for key in options:
        _open_section(cfg, key)
    try:
        cfg.merge_from_dict(_whole_lists(cfg, options))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        words = ' '.join(f'{key}={value}' for key, value in options.items())
        raise ConfigError(f'--cfg-options {words}: {error.args[0] if error.args else error}') from error


def _open_section(cfg, key):
    """Take away what is None above a dotted key, such as `amp` above amp.dtype: mmcv refuses to set values within."""
    for parent in key.split('.')[:-1]:
        if hasattr(cfg, 'keys') and parent in cfg and cfg[parent] is None:
            cfg.pop(parent)
            return
        cfg = find_value(cfg, parent)


def _typed(value, present):
    if not isinstance(value, OptionText):
        return value
    text = value.strip()
    if isinstance(present, str):
        return str(value) if text[:1] not in ('[', '(', '"', "'") and text.lower() != 'none' else \
            parse_value(value, words=True)
    return parse_value(
        value,
        words=isinstance(present, (list, tuple)) and len(present) > 0
        and all(isinstance(part, str) for part in present))


def find_value(cfg, key):
    """The value of a dotted key, in which integers are indices into lists; None where there is none."""
    for part in key.split('.'):
        try:
            cfg = cfg[int(part) if isinstance(cfg, (list, tuple)) else part]
        except (KeyError, ValueError, IndexError, TypeError):
            return None
    return cfg


def _whole_lists(cfg, options):
    """Options with the whole list in the place of a single value in it, which mmcv cannot replace."""
    whole = {}
    for key, value in options.items():
        parent, _, index = key.rpartition('.')
        values = whole.get(parent) or find_value(cfg, parent)
        if index.isdigit() and isinstance(values, (list, tuple)) and not isinstance(value, dict):
            key, values = parent, list(values)
            values[int(index)] = value
            value = values
        whole[key] = value
    return whole


def find_section(cfg, name):
    """A section of a config.

    Args:
        cfg (mmcv.Config): The config.
        name (str): Its dotted name, such as 'data.train'.

    Returns:
        The section.

    Raises:
        ConfigError: It is absent; a present one with a similar name is named.
    """
    part = cfg
    for key in name.split('.'):
        if hasattr(part, 'get') and key in part and part[key] is None:
            raise ConfigError(f'{name} is None in the config, and is needed')
        if not hasattr(part, 'get') or part.get(key) is None:
            similar = difflib.get_close_matches(key, list(part.keys()) if hasattr(part, 'keys') else [], n=1)
            raise ConfigError(f'the config has no {name!r}' +
                              (f'; did you mean {key!r} by the {similar[0]!r} in it?' if similar else ''))
        part = part[key]
    return part


def check_sections(cfg, required):
    """See that a config has the sections (dotted names) that a tool needs; see find_section."""
    for name in required:
        find_section(cfg, name)


@contextlib.contextmanager
def config_section(cfg, name):
    """Give a ConfigError raised inside the place of the fault in the whole config.

    Args:
        cfg (mmcv.Config): The whole config.
        name (str): The section that is built inside, used when the faulty part was copied on the way.
    """
    try:
        yield
    except ConfigError as error:
        if error.cfg is not None and find_path(cfg._cfg_dict, error.cfg) is not None:
            error.locate_in(cfg._cfg_dict)
        else:
            error.place = '.'.join(filter(None, [name, error.place]))
        raise
