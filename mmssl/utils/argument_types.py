# Copyright (c) mmssl contributors. All rights reserved.
"""Types of arguments as the docstrings of classes give them, so that a config's values are checked against them."""
import functools
import inspect
import re

from .errors import short

_ENTRY = re.compile(r'^ {4,8}(\w+(?:, \w+)*) \(((?:[^()]|\([^()]*\))+)\):', re.MULTILINE)
_PLAIN = (str, int, float, bool, list, tuple, dict)
_PACKAGES = ('mmssl', 'mmcv')  # whose docstrings can be relied on


@functools.lru_cache(maxsize=None)
def documented_types(cls):
    """Types in the section Args of the docstrings of a class and its bases, or of a function.

    Returns:
        dict[str, str]: Text such as 'int | Sequence[int]' by argument.
    """
    found = {}
    for part in cls.__mro__ if inspect.isclass(cls) else [cls]:
        if part.__module__.partition('.')[0] not in _PACKAGES:
            continue
        for documented in (part, part.__dict__.get('__init__')):
            for names, text in _ENTRY.findall(inspect.cleandoc(getattr(documented, '__doc__', None) or '')):
                for name in names.split(', '):
                    found.setdefault(name, ' '.join(text.split()))
    return found


def fits(value, text):
    """Whether a plain value is of a type.

    Args:
        value: Objects other than numbers, strings, lists, tuples and dicts fit everything.
        text (str): Types with '|' or 'or' between them: int, float, bool, str, dict, list[...], tuple[...],
            Sequence[...], None or optional; a class takes no plain value; other words take everything.

    Returns:
        bool: Whether it fits.
    """
    kinds = [kind for kind in _split(text.replace(' or ', ' | ')) if kind]
    if value is None:
        return any(kind in ('None', 'optional') for kind in kinds)
    return not isinstance(value, _PLAIN) or any(_fits_one(value, kind) for kind in kinds)


def _split(text):
    """Parts of a text between '|' and commas that stand in no brackets."""
    parts, depth = [''], 0
    for character in text:
        depth += (character in '([') - (character in ')]')
        if character in '|,' and depth == 0:
            parts.append('')
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _fits_one(value, kind):
    name, _, inner = kind.partition('[')
    if name in ('list', 'tuple', 'Sequence', 'iterable'):
        return isinstance(value, (list, tuple)) and (not inner or all(fits(part, inner[:-1]) for part in value))
    if isinstance(value, bool) or name == 'bool':
        return isinstance(value, bool) and name == 'bool'
    if name in ('int', 'float'):
        # what is no number is unlike itself
        return isinstance(value, int) or name == 'float' and isinstance(value, float) and value == value
    if name in ('str', 'string', 'dict'):
        return isinstance(value, dict if name == 'dict' else str)
    if name == 'optional':
        return False
    return not re.fullmatch(r'(\w+\.)*[A-Z]\w+|timedelta|device', name)


def check_types(cls, args, parameters):
    """Find an argument whose value has another type than its class says.

    Args:
        cls (type | Callable): The class, or function.
        args (dict): Values by name.
        parameters (dict[str, inspect.Parameter]): Of the class.

    Returns:
        str | None: What is wrong with the first such argument.
    """
    types = documented_types(cls)
    for name, value in args.items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if value is default or value == default and type(value) is type(default):
            continue
        text = types.get(name)
        if text is None:  # of another package: what it has by default tells numbers and truth values from texts
            if not isinstance(default, (bool, int, float)) or not _is_quoted(value, default):
                continue
            text = 'bool' if isinstance(default, bool) else 'float'  # torch has 0 where a fraction may stand
        if not fits(value, text):
            hint = ', a text in quotes' if isinstance(value, str) and 'str' not in text else ''
            hint = ', which is no number' if isinstance(value, float) and value != value else hint
            return f'{cls.__name__}: {name} must be {text}, got {short(value)}{hint}'
    return None


def _is_quoted(value, default):
    """Whether a value is the text of a number or of a truth value, where there is one by default."""
    return isinstance(value, str) and bool(
        re.fullmatch('true|false|yes|no|on|off' if isinstance(default, bool) else r'[-+.\de]*\d[-+.\de]*',
                     value.lower()))
