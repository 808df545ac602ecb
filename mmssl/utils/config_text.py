# Copyright (c) mmssl contributors. All rights reserved.
"""Configs as text: a Python file that reads back equal, and the differences between two. Imports nothing heavy."""
import ast
import keyword
import math
import os

from .errors import ConfigError

WIDTH = 120
# a variable by one of these names would hide what later lines need, so it comes last
_USED = ('dict', 'float', 'frozenset', 'globals', 'set')
_ABSENT = object()


def config_text(cfg):
    """A config as the text of a Python file.

    mmcv's `pretty_text` loses backslashes, fails on apostrophes, and calls yapf, which takes a third of the time of
    `import torch`.

    Args:
        cfg (mmcv.Config | dict): Of plain values: strings, numbers, None, lists, tuples, sets, dicts; numbers and
            arrays of numpy become those of Python, paths become strings.

    Returns:
        str: One `name = value` after the other. mmcv's Config.fromfile reads it as an equal config.

    Raises:
        ConfigError: A value has no text that could be read again, such as a class or a function.
    """
    lines = []
    for name, value in sorted(cfg.items(), key=lambda item: item[0] in _USED):
        start = f'{name} = ' if _is_name(name) else f'globals()[{_text(name)}] = '
        lines.append(start + format_value(_plain(value, str(name)), 0, len(start)) + '\n')
    return ''.join(lines)


def differences(old, new):
    """Where two configs differ.

    Args:
        old, new (mmcv.Config | dict | list | tuple): Configs, or parts of them.

    Yields:
        tuple[str, str, str]: Dotted path, and the text of the old and the new value; '(absent)' where there is none.
    """
    old, new = (dict(enumerate(c)) if isinstance(c, (list, tuple)) else c for c in (old, new))
    for key in [*old.keys(), *(key for key in new.keys() if key not in old)]:
        a, b = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if isinstance(a, dict) and isinstance(b, dict) or (isinstance(a, (list, tuple)) and type(a) is type(b)
                                                           and len(a) == len(b)):
            for path, *values in differences(a, b):
                yield (f'{key}.{path}', *values)
        elif a is _ABSENT or b is _ABSENT or _one_line(a) != _one_line(b):
            yield (str(key), *('(absent)' if c is _ABSENT else _one_line(c) for c in (a, b)))


def _one_line(value):
    return format_value(_plain(value, ''), 0, -10**9)


def _is_name(key):
    # the parser changes some names that are not ASCII
    return isinstance(key, str) and key.isascii() and key.isidentifier() and not keyword.iskeyword(key)


def _text(value):
    """The text of a single value, without the two braces that mmcv reads as a variable."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value).replace('{{', '{\\x7b')


def _plain(value, path):
    """The value as types of Python itself, whose text Python reads."""
    if hasattr(value, 'dtype') and hasattr(value, 'tolist'):  # numbers, strings and arrays of numpy
        value = value.tolist()
    if value is None or isinstance(value, (bool, bytes)):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return {_plain(key, path): _plain(part, f'{path}.{key}') for key, part in value.items()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return kind(_plain(part, f'{path}.{i}') for i, part in enumerate(value))
    raise ConfigError(
        f'{path} is {value!r}, of type {type(value).__name__}: a config holds strings, numbers, lists and '
        'dicts; give a class by the name under which it is registered')


def format_value(value, indent, used=0):
    """Python text of a value: on one line where that fits, else one item a line.

    Args:
        value: Dicts, lists, tuples and sets of plain values.
        indent (int): Column where the line begins.
        used (int): Columns that stand before the value on its line, and the comma after it.

    Returns:
        str: The text, to be put after what stands before.
    """
    if isinstance(value, dict) and all(map(_is_name, value)):
        opening, closing, items = 'dict(', ')', [(f'{key}=', part) for key, part in value.items()]
    elif isinstance(value, dict):
        opening, closing, items = '{', '}', [(f'{format_value(key, 0, -10**9)}: ', part) for key, part in value.items()]
    elif isinstance(value, list):
        opening, closing, items = '[', ']', [('', part) for part in value]
    elif isinstance(value, tuple):
        opening, closing, items = '(', ',)' if len(value) == 1 else ')', [('', part) for part in value]
    elif isinstance(value, (set, frozenset)):
        opening, closing, items = f'{type(value).__name__}([', '])', [('', part) for part in sorted(value, key=repr)]
    else:
        return _text(value)
    line = opening + ', '.join(name + format_value(part, 0, -10**9) for name, part in items) + closing
    if indent + used + len(line) <= WIDTH:
        return line
    inner = '\n' + ' ' * (indent + 4)
    return opening + ','.join(f'{inner}{name}{format_value(part, indent + 4, len(name) + 1)}'
                              for name, part in items) + closing


def parse_config_text(text):
    """The values in the text of a config, which is not run: it may come from a checkpoint of unknown origin.

    Args:
        text (str): What config_text has written, or mmcv: one `name = value` after the other.

    Returns:
        dict: The values.

    Raises:
        ConfigError: The text holds more than plain values.
    """
    values = {}
    try:
        for line in ast.parse(text).body:
            if not isinstance(line, ast.Assign) or len(line.targets) != 1:
                raise ValueError(ast.unparse(line))
            target = line.targets[0]
            if isinstance(target, ast.Subscript) and ast.unparse(target.value) == 'globals()':
                name = ast.literal_eval(target.slice)
            elif isinstance(target, ast.Name):
                name = target.id
            else:
                raise ValueError(ast.unparse(target))
            values[name] = _value(line.value)
    except (SyntaxError, ValueError, TypeError) as error:
        raise ConfigError(f'this is no text of a config of plain values: {error}') from error
    return values


_CALLS = dict(dict=dict, float=float, set=set, frozenset=frozenset)


def _value(node):
    """A literal, or one of the calls that format_value writes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        return _CALLS[node.func.id](*map(_value, node.args), **{part.arg: _value(part.value) for part in node.keywords})
    if isinstance(node, ast.Dict):
        return {_value(key): _value(part) for key, part in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        return (list if isinstance(node, ast.List) else tuple)(map(_value, node.elts))
    return ast.literal_eval(node)
