# Copyright (c) mmssl contributors. All rights reserved.
"""The command `mmssl`: a file of this folder for each of its commands, with arguments and a call.

A file has `add_arguments(parser)` and `run(args)`, and its docstring is the help. Only that of the command that was
asked for is imported, so that help and mistakes cost no import of torch.
"""
import argparse
import importlib
import sys

from mmssl import __version__
from mmssl.utils.errors import nearest
from mmssl.utils.misc import run_tool

# name -> what it does, in the order of the help; the file is NAME.py
COMMANDS = {}
# commands that several processes of torchrun or Slurm run together
DISTRIBUTED = ()


def main(argv=None):
    """Run a command.

    Args:
        argv (Sequence[str], optional): Its words, without the name of the program. Default: those of the process.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    command = argv[0] if argv else None
    if command not in COMMANDS:
        parser = argparse.ArgumentParser(
            prog='mmssl',
            description='Self-supervised learning on images.',
            usage='mmssl COMMAND ...',
            epilog='mmssl COMMAND --help tells the arguments of a command.',
            formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument('--version', action='version', version=f'mmssl {__version__}')
        group = parser.add_argument_group('commands')
        for name, words in COMMANDS.items():
            group.add_argument(name, help=words, nargs='?')
        if command is None or command.startswith('-'):
            parser.parse_args([*argv, '--help'] if command is None else argv[:1])
        parser.error(f'there is no command {command!r}; {nearest(command, COMMANDS, "the commands")}')
    module = importlib.import_module(f'mmssl.cli.{command}')
    parser = argparse.ArgumentParser(
        prog=f'mmssl {command}', description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    args = parser.parse_args(argv[1:])
    run_tool(lambda: module.run(args), distributed=command in DISTRIBUTED)
