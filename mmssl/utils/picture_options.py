# Copyright (c) mmssl contributors. All rights reserved.
"""Command-line options of the tools that draw what a model makes of images. Imports nothing heavy."""
import argparse
import os
import sys

from .config import add_cfg_options
from .evaluation_options import add_broken_option, add_teacher_option

CONFIGS = ('.py', '.yml', '.yaml', '.json')
PICTURES = ('.png', '.jpg', '.jpeg', '.pdf', '.svg')


def positive(text):
    """An integer above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'1 or more, got {text}')
    return value


class _Size(argparse.Action):

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) > 2:
            parser.error(f'{option_string} is one number, or height and width; got {" ".join(map(str, values))}')
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


def add_size_option(parser, of, default=None):
    """Give a parser the option --size PIXELS or --size HEIGHT WIDTH: an int, or a tuple of two.

    Args:
        parser (argparse.ArgumentParser): Gets `size`.
        of (str): What has this size, for the help.
        default (int, optional): Side of a square.
    """
    told = f' (default: {default})' if default else ''
    parser.add_argument(
        '--size',
        type=positive,
        nargs='+',
        action=_Size,
        default=default,
        metavar='PIXELS',
        help=f'side, or height and width, of {of}{told}')


def add_sample_options(parser):
    """Give a parser the options by which samples of a config's data are chosen: `samples`, `idx`, `data`, `broken`."""
    parser.add_argument('--samples', type=positive, default=6, help='how many, spread evenly over the data')
    parser.add_argument('--idx', type=int, nargs='+', help='these samples instead')
    add_broken_option(parser)
    parser.add_argument('--data', default='data.train', metavar='SECTION', help='of the config (default: %(default)s)')


def _drawn(path):
    """Whether a file is a picture of ours, as matplotlib says in the head of those that it writes (not in a JPEG)."""
    with open(path, 'rb') as file:
        return b'atplotlib' in file.read(4096)


def parse_picture_args(parser, out_file, argv=None):
    """Parse [IMG ...] CONFIG CHECKPOINT [OUT_FILE] and the options that go with them.

    Args:
        parser (argparse.ArgumentParser): Without positional arguments.
        out_file (str): Default of --out-file.
        argv (list[str], optional): Instead of the command line.

    Returns:
        argparse.Namespace: With `images`, `config`, `checkpoint`, `teacher`, `out_file`, `device`, `seed`, `size`,
        `samples`, `idx`, `data`, `broken` and `cfg_options`.
    """
    parser.usage = '%(prog)s [IMG ...] CONFIG CHECKPOINT [OUT_FILE] [options]'
    parser.add_argument(
        'images', metavar='IMG', nargs='*', help='image files and folders; without any, samples of the config\'s data')
    parser.add_argument('config', metavar='CONFIG', help='the one that the checkpoint was trained with')
    argv = sys.argv[1:] if argv is None else argv
    as_option = any(word.split('=')[0] == '--checkpoint' for word in argv)
    parser.add_argument(
        '--checkpoint' if as_option else 'checkpoint',
        metavar='CHECKPOINT',
        help='of the training; also as an option, --checkpoint CHECKPOINT')
    add_teacher_option(parser)
    parser.add_argument('--out-file', '--out', default=out_file, help='the picture (default: %(default)s)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU where there is one)')
    parser.add_argument('--seed', type=int, default=0, help='of masks and of random views (default: %(default)s)')
    parser.add_argument(
        '--size',
        type=positive,
        nargs='+',
        metavar='PIXELS',
        help='side, or height and width, of image files, which are scaled and cut to it; multiples of a patch '
        '(default: the model\'s)')
    add_sample_options(parser)
    add_cfg_options(parser)
    args = parser.parse_intermixed_args(argv)  # options may stand between the images and the config
    if not as_option and args.images and args.images[-1].endswith(CONFIGS) and not args.config.endswith(CONFIGS):
        # IMG CONFIG CHECKPOINT OUT_FILE, as MMSelfSup has it
        *args.images, args.config, args.checkpoint, args.out_file = (*args.images, args.config, args.checkpoint)
        if os.path.isfile(args.out_file) and not _drawn(args.out_file):
            parser.error(f'{args.out_file} would be written over: what stands behind CONFIG CHECKPOINT is the '
                         f'picture to write. Images stand before CONFIG; --out-file {args.out_file} replaces it')
    if not args.out_file.lower().endswith(PICTURES):
        parser.error(f'a picture ends with {", ".join(PICTURES)}; got {args.out_file}')
    if any(os.path.isfile(name) and os.path.exists(args.out_file) and os.path.samefile(name, args.out_file)
           for name in args.images):  # yapf: disable
        parser.error(f'{args.out_file} is an image to be drawn, and would be written over by the picture')
    if args.size and (len(args.size) > 2 or not args.images):
        parser.error(f'--size is one or two numbers, and for image files; got {args.size} with '
                     f'{len(args.images)} image files')
    return args
