# Copyright (c) mmssl contributors. All rights reserved.
"""The command `mmssl`: a file of this folder for each of its commands, with arguments and a call.

A file has `add_arguments(parser)` and `run(args)`, and its docstring is the help. Only that of the command that was
asked for is imported, so that help and mistakes cost no import of torch.
"""
import importlib
import sys

from mmssl import __version__
from mmssl.utils.errors import nearest
from mmssl.utils.misc import run_tool
from .options import Parser

# what one wants -> name of a command -> what it does; the file is NAME.py
GROUPS = {
    'train': {
        'train': 'pre-train on images: settings fit them, the machine and the time, and are explained',
        'resume': 'go on with a run exactly where its last checkpoint was written',
        'config': 'print or write the config that `train` would use',
        'check': 'see before a training whether it will run, how long it takes and what it needs',
    },
    'know what there is': {
        'methods': 'list the methods: what they learn from and what they need',
        'models': 'list the networks: ours, those of timm and of torchvision',
        'recipes': 'list the configs that come with mmssl',
        'doctor': 'look at this machine and the packages on it, with advice',
    },
    'look at runs': {
        'watch': 'show the page of a run in a browser while it trains',
        'report': 'write the page of a run',
        'compare': 'compare runs: settings that differ, figures and curves',
    },
    'use what was learned': {
        'features': 'write the features of images to a file',
        'search': 'find the images that look like others',
        'export': 'write the trained network for programs without mmssl',
        'convert': 'give weights the layout of another library',
    },
    'try it': {
        'demo': 'pre-train on small images for a minute and measure what was learned',
        'completion': 'print the completion of commands for a shell',
    },
}
COMMANDS = {name: words for group in GROUPS.values() for name, words in group.items()}
# commands that several processes of torchrun or Slurm run together
DISTRIBUTED = ('train', 'resume')


def main(argv=None):
    """Run a command.

    Args:
        argv (Sequence[str], optional): Its words, without the name of the program. Default: those of the process.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    command = argv[0] if argv else '--help'
    if command in ('-h', '--help', 'help') and len(argv) < 2:
        print(overview())
    elif command in ('-V', '--version'):
        print(f'mmssl {__version__}')
    elif command == 'help':
        main([argv[1], '--help'])
    elif command in COMMANDS:
        module = importlib.import_module(f'mmssl.cli.{command}')

        def run():
            args = parser_of(command).parse_args(argv[1:])
            args.command_line = argv[1:]  # as it was given
            module.run(args)

        run_tool(run, distributed=command in DISTRIBUTED)
    else:
        what = 'option' if command.startswith('-') else 'command'
        Parser(prog='mmssl').error(f'there is no {what} {command!r}; {nearest(command, COMMANDS, "the commands")}')


def parser_of(command):
    """The argument parser of a command."""
    module = importlib.import_module(f'mmssl.cli.{command}')
    parser = Parser(prog=f'mmssl {command}', description=module.__doc__)
    module.add_arguments(parser)
    return parser


def overview():
    """The text of `mmssl --help`."""
    width = max(map(len, COMMANDS)) + 2
    lines = ['usage: mmssl COMMAND ...', '', 'Self-supervised learning on images.']
    for title, group in GROUPS.items():
        lines += ['', f'{title}:', *(f'  {name:{width}}{words}' for name, words in group.items())]
    return '\n'.join([
        *lines, '', 'mmssl COMMAND --help tells the arguments of a command. To begin with:',
        '  mmssl train FOLDER --time 10m'
    ])
