# Copyright (c) mmssl contributors. All rights reserved.
"""Lengths of time as people write them. Imports nothing."""
import re

from mmssl.utils.errors import ConfigError

_UNITS = dict(s=1, m=60, h=3600, d=86400)


def parse_time(text):
    """Seconds of a length of time.

    Args:
        text (str | float): '90s', '10m', '2h', '1h30m', '1.5h'; a plain number counts seconds.

    Returns:
        float: Seconds.

    Raises:
        ConfigError: It is no such length, or not above 0.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        seconds = float(text)
    else:
        words = str(text).strip().lower().replace(' ', '')
        parts = re.findall(r'(\d+(?:\.\d+)?)([dhms]?)', words)
        if not parts or ''.join(number + unit for number, unit in parts) != words or \
                len(parts) > 1 and not all(unit for _, unit in parts):
            raise ConfigError(f'a time is a number with s, m, h or d, such as 90s, 10m, 2h or 1h30m; got {text!r}')
        seconds = sum(float(number) * _UNITS[unit or 's'] for number, unit in parts)
    if not 0 < seconds < float('inf'):
        raise ConfigError(f'a time is more than 0, such as 90s, 10m or 2h; got {text!r}')
    return seconds


def format_time(seconds):
    """A length of time in words, such as '1 h 30 min'; two units at most."""
    seconds = max(0, seconds)
    if seconds < 60:
        return f'{seconds:.2g} s' if seconds < 10 else f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 60:
        return f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f'{hours} h {minutes} min' if minutes else f'{hours} h'
    return f'{hours / 24:.1f} days'
