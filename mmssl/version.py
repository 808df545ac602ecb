# Copyright (c) mmssl contributors. All rights reserved.
"""Version of the package; setup.py reads it without importing mmssl."""
__version__ = '0.1.0'


def parse_version_info(version_str):
    """Split a version string into comparable parts.

    Args:
        version_str (str): Such as '1.3.0' or '1.3.0rc1'.

    Returns:
        tuple: Such as (1, 3, 0) or (1, 3, 0, 'rc1').
    """
    parts = []
    for part in version_str.split('.'):
        if part.isdigit():
            parts.append(int(part))
        elif 'rc' in part:
            patch, candidate = part.split('rc')
            parts += [int(patch), f'rc{candidate}']
    return tuple(parts)


version_info = parse_version_info(__version__)
