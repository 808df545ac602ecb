# Copyright (c) mmssl contributors. All rights reserved.
"""What the commands of `mmssl` have in common: the parser, and options that several have."""
import argparse
import contextlib
import os
import sys

from mmssl.utils.command_words import in_our_words
from mmssl.utils.config import DictAction
from mmssl.utils.errors import ConfigError, nearest


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes take one line, with the nearest option."""

    def __init__(self, **kwargs):
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **kwargs)

    def parse_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        dashed = next((word for word in args if word.startswith('-') and len(word) > 1 and os.path.exists(word)), None)
        if dashed is not None and dashed not in self._option_string_actions:
            self.error(f'{dashed} begins with a dash, as options do: write ./{dashed}')
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            name = next((word for word in rest if word.startswith('-')), None)
            if name is not None:
                name = name.partition('=')[0]
                self.error(f'there is no option {name}; {nearest(name, self._option_string_actions, "the options")}')
            self.error(f'{rest[0]!r} is one word too many; words with spaces stand in quotes')
        return found

    def error(self, message):
        self.exit(2, f'error: {message} ({self.prog} --help tells more)\n')


class _Formatter(argparse.RawDescriptionHelpFormatter):

    def __init__(self, prog):
        super().__init__(prog, max_help_position=28)


def add_choice_options(parser):
    """Options of all commands that fit a config to data: see mmssl.recipes.fit."""
    parser.add_argument('--method', default='auto', metavar='NAME', help='see `mmssl methods` (default: what fits)')
    parser.add_argument('--model', default='auto', metavar='NAME', help='see `mmssl models` (default: what fits)')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--time', metavar='TIME', help='of the training, such as 90s, 10m, 2h or 1h30m')
    length.add_argument('--epochs', type=int, metavar='N', help='of the training, in place of its time')
    parser.add_argument(
        '--labels', metavar='FILE', help='labels in the order of the images, to measure by; none: leave them aside')
    add_set_option(parser)
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of all random numbers (default: 0)')


def add_set_option(parser, what='settings of the config by dotted key, which win over what is chosen'):
    """The option --set; `args.settings` is a dict of texts by dotted key, as load_config takes it."""
    parser.add_argument(
        '--set',
        nargs='+',
        action=DictAction,
        default={},
        dest='settings',
        metavar='KEY=VALUE',
        help=f'{what}, such as data.samples_per_gpu=64 optimizer.lr=0.01')


@contextlib.contextmanager
def our_words():
    """Context in which errors speak of the options of the command `mmssl`."""
    try:
        yield
    except ConfigError as error:
        error.message = in_our_words(error.message)
        raise
