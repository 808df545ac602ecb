# Copyright (c) mmssl contributors. All rights reserved.
"""Print a config with everything that it inherits; the output is a config file again."""
import argparse

from mmssl.utils.config import add_cfg_options, load_config
from mmssl.utils.misc import run_tool

WIDTH = 120


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_cfg_options(parser)
    return parser.parse_args()


def format_value(value, indent, used=0):
    """Python text of a value: on one line where that fits, else one item a line.

    mmcv's `Config.pretty_text` calls yapf, which takes a third of the time of `import torch`.

    Args:
        value: Dicts, lists and tuples of plain values.
        indent (int): Column where the line begins.
        used (int): Columns that stand before the value on its line, and the comma after it.

    Returns:
        str: The text, to be put after what stands before.
    """
    if isinstance(value, dict) and all(isinstance(key, str) and key.isidentifier() for key in value):
        opening, closing, items = 'dict(', ')', [(f'{key}=', part) for key, part in value.items()]
    elif isinstance(value, dict):
        opening, closing, items = '{', '}', [(f'{key!r}: ', part) for key, part in value.items()]
    elif isinstance(value, list):
        opening, closing, items = '[', ']', [('', part) for part in value]
    elif isinstance(value, tuple):
        opening, closing, items = '(', ',)' if len(value) == 1 else ')', [('', part) for part in value]
    else:
        return repr(value)
    line = opening + ', '.join(name + format_value(part, 0, -10**9) for name, part in items) + closing
    if indent + used + len(line) <= WIDTH:
        return line
    inner = '\n' + ' ' * (indent + 4)
    return opening + ','.join(f'{inner}{name}{format_value(part, indent + 4, len(name) + 1)}'
                              for name, part in items) + closing


def main():
    args = parse_args()
    for name, value in load_config(args.config, args.cfg_options).items():
        print(f'{name} = {format_value(value, 0, len(name) + 3)}')


if __name__ == '__main__':
    run_tool(main)
