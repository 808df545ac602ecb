# Copyright (c) mmssl contributors. All rights reserved.
"""Errors in what a user wrote: each says what was found and what would be right."""
import difflib
import os
import traceback


class Completed(dict):
    """A copy of a config with values that it left out. An error in it has the place of what was given.

    Args:
        given (dict): The config as it stands within a larger one.
        **values: What is added.
    """

    def __init__(self, given, **values):
        super().__init__({**given, **values})
        self.given = given.given if isinstance(given, Completed) else given


class ConfigError(ValueError):
    """A config that cannot be built, with the place of the fault in it.

    Args:
        message (str): What is wrong and what would be right.
        cfg (dict, optional): The part of the config that is at fault; outer builders find its place by it.
    """

    def __init__(self, message, cfg=None):
        super().__init__(message)
        self.message = message
        self.cfg = cfg
        self.place = ''

    def locate_in(self, outer):
        """Extend the place by the path that leads from an outer config to the faulty part."""
        part = self.cfg.given if isinstance(self.cfg, Completed) else self.cfg
        path = '' if part is None else find_path(outer, part)
        if path is not None:
            self.place = '.'.join(filter(None, [path, self.place]))
            self.cfg = outer

    def __str__(self):
        return f'{self.message} (at {self.place} in the config)' if self.place else self.message


class UnknownNameError(ConfigError, KeyError):
    """A `type` that no registry knows."""


class UnknownArgumentError(ConfigError, TypeError):
    """An argument that a class does not take, or one that it needs and was not given."""


class AbsentFileError(ConfigError, FileNotFoundError):
    """A file or folder that a config names and that is not there."""


class RemoteFileError(ConfigError, ConnectionError):
    """A file on a server that cannot be read: no fault of the file, so that nothing else takes its place."""


class NotOfferedError(ConfigError, NotImplementedError):
    """Something that a model or a data set does not do."""


class BrokenImageError(ValueError):
    """An image that cannot be read.

    Args:
        filename (str): The file.
        reason (str): What is wrong with it.
    """

    def __init__(self, filename, reason=''):
        # both stay in `args`, so that the error survives its way from a worker process
        super().__init__(filename, reason)
        self.filename = filename
        self.reason = reason

    def __str__(self):
        return f'cannot read the image {printable(self.filename)}: {printable(self.reason)}' if self.reason else str(
            self.filename)


def printable(name):
    """A file name in one line that every terminal and log takes.

    Args:
        name (str | Path): File names are bytes: they may hold line breaks, and bytes that are no UTF-8.

    Returns:
        str: Such bytes and control characters are written as escapes, all others as they are.
    """
    text = os.fsencode(name).decode('utf-8', 'backslashreplace')
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def check_integer(value, name, least=None):
    """See that a setting is an integer.

    Args:
        value: Of the setting.
        name (str): Of the setting.
        least (int, optional): The lowest that makes sense.

    Raises:
        ConfigError: It is none, or too low.
    """
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        range_ = '' if least is None else f' of at least {least}'
        raise ConfigError(f'{name} is an integer{range_}, got {value!r}')


def describe(error):
    """An exception in one line: that of a value in its own words, others with their kind and place in the code."""
    message = str(error)
    if 'Original Traceback' in message:  # of a worker process of a loader: the error proper is the last line
        return message.strip().splitlines()[-1]
    message = ' '.join(message.split())
    if isinstance(error, ValueError) and message:
        return message
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__}: {message or frame.line} ({frame.filename}, line {frame.lineno})'


def short(value):
    """The text of a value, cut where it is long."""
    text = repr(value)
    text = ' '.join(text.split()) if '\n' in text else text  # that of an array
    return text if len(text) <= 120 else f'{text[:117]}...'


def nearest(name, known, what='known names'):
    """Words that help with a misspelt name: the nearest known one, or all of them when there are few."""
    known = sorted(str(k) for k in known)
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f'did you mean {lowered[close[0]]!r}?'
    if not known:
        return f'{what}: none'
    return f'{what}: ' + (', '.join(known) if len(known) <= 40 else f'{", ".join(known[:8])}, ...')


def find_path(tree, part):
    """Dotted path from a nested config to the very object `part` in it, '' for itself, None if absent."""
    if tree is part:
        return ''
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return None
    for key, value in items:
        path = find_path(value, part)
        if path is not None:
            return '.'.join(filter(None, [str(key), path]))
    return None
