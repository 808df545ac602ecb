# Copyright (c) mmssl contributors. All rights reserved.
"""The argument parsers of tools and commands: the documentation shows their help, and its commands are tried with them.
"""
import argparse
import importlib
import runpy
import sys
from pathlib import Path


class _Captured(BaseException):
    pass


def parser_of(file):
    """The argument parser of a tool, a Python file, which is run until it parses its arguments."""

    def capture(parser, *args, **kwargs):
        raise _Captured(parser)

    original, path = argparse.ArgumentParser.parse_known_args, list(sys.path)
    sys.path.insert(0, str(Path(file).parent))
    try:
        argparse.ArgumentParser.parse_known_args = capture
        runpy.run_path(str(file), run_name='__main__')
    except _Captured as error:
        return error.args[0]
    finally:
        argparse.ArgumentParser.parse_known_args, sys.path[:] = original, path
    raise ValueError(f'{file} has no argparse.ArgumentParser')


def command_parser(name):
    """The argument parser of the command `mmssl NAME`."""
    module = importlib.import_module(f'mmssl.cli.{name}')
    parser = argparse.ArgumentParser(
        prog=f'mmssl {name}', description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    return parser
