# Copyright (c) mmssl contributors. All rights reserved.
"""Config files and options of the command line. Imports mmcv only when a config is read."""
import argparse
import contextlib
import difflib
import os

from .errors import ConfigError, find_path, nearest

TOP_LEVEL = ('model', 'data', 'img_norm_cfg', 'prefetch', 'optimizer', 'optimizer_config', 'lr_config',
             'momentum_config', 'runner', 'checkpoint_config', 'log_config', 'custom_hooks', 'custom_imports',
             'evaluation', 'workflow', 'load_from', 'resume_from', 'auto_resume', 'dist_params', 'log_level', 'seed',
             'deterministic', 'work_dir', 'cudnn_benchmark', 'opencv_num_threads', 'mp_start_method',
             'persistent_workers', 'amp', 'fp16', 'channels_last', 'compile', 'broken_images', 'find_unused_parameters',
             'profiler_config')


def parse_value(text):
    """Read a value of --cfg-options.

    Args:
        text (str): A number, true, false, None, a list such as 1,2 or [a,b] or [(train,1),(val,1)], else a string.

    Returns:
        The value.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"':
        return text[1:-1]
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in '([') - (character in ')]')
        if character == ',' and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth:
        raise ConfigError(f'unbalanced brackets in {text!r}')
    if parts:
        return [parse_value(part) for part in (*parts, text[start:]) if part.strip()]
    if text[:1] in ('(', '[') and text[-1:] in (')', ']'):
        inner = parse_value(text[1:-1] + ',') if text[1:-1].strip() else []
        return tuple(inner) if text[0] == '(' else inner
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {'true': True, 'false': False, 'none': None}.get(text.lower(), text)


class DictAction(argparse.Action):
    """Collect KEY=VALUE arguments in a dict. The option may be given several times."""

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest) or {})
        for item in values:
            key, equals, value = item.partition('=')
            if not equals or not key:
                parser.error(f'{option_string} takes KEY=VALUE, got {item!r}')
            try:
                options[key] = parse_value(value)
            except ConfigError as error:
                parser.error(str(error))
        setattr(namespace, self.dest, options)


def add_cfg_options(parser):
    """Give an argument parser the option --cfg-options."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config: dotted keys, list indices among them, such as '
        'data.train.pipeline.1.p=0.0 or workflow="[(train,1),(val,1)]"')


def load_config(path, cfg_options=None):
    """Read a config file with its bases, and override settings.

    Args:
        path (str | Path | mmcv.Config): Python, YAML or JSON file. Modules named in its custom_imports are imported.
        cfg_options (dict, optional): Value by dotted key; an integer in a key is an index into a list.

    Returns:
        mmcv.Config: The config.

    Raises:
        FileNotFoundError: There is no such file, or no such base.
        ConfigError: The file cannot be understood, or an option has a key that looks misspelt.
    """
    from mmcv import Config
    cfg = path
    if not isinstance(path, Config):
        if not os.path.isfile(path):
            raise FileNotFoundError(f'config file {path} does not exist')
        try:
            cfg = Config.fromfile(str(path))
        except (SyntaxError, KeyError, TypeError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ConfigError(f'config file {path}: {error.args[0] if error.args else error}') from error
    if cfg_options:
        _check_options(cfg, cfg_options)
        try:
            cfg.merge_from_dict(_whole_lists(cfg, cfg_options))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ConfigError(f'--cfg-options {_words(cfg_options)}: {error.args[0] if error.args else error}') \
                from error
    return cfg


def _whole_lists(cfg, options):
    """Options with the whole list in the place of a single value in it, which mmcv cannot replace."""
    whole = {}
    for key, value in options.items():
        parent, _, index = key.rpartition('.')
        values = whole.get(parent, cfg)
        if values is cfg and index.isdigit():
            for part in parent.split('.'):
                inside = values is not None and not isinstance(values, (str, list, tuple))
                values = values[int(part)] if isinstance(values,
                                                         (list, tuple)) else values.get(part) if inside else None
        if index.isdigit() and isinstance(values, (list, tuple)) and not isinstance(value, dict):
            key, values = parent, list(values)
            values[int(index)] = value
            value = values
        whole[key] = value
    return whole


def _words(options):
    return ' '.join(f'{key}={value}' for key, value in options.items())


def _check_options(cfg, options):
    """Refuse an option whose first key is unknown and close to a known one."""
    for key in options:
        top = key.split('.')[0]
        known = {*TOP_LEVEL, *cfg.keys()}
        if top not in known and difflib.get_close_matches(top.lower(), known, n=1, cutoff=0.7):
            raise ConfigError(f'--cfg-options has the unknown key {key!r}; {nearest(top, known)}')


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
