# Copyright (c) mmssl contributors. All rights reserved.
"""See before a training whether it will run, how long it takes and what it needs.

Looked at are: whether the images can be read and listed files are there, labels, the memory of a step and the seconds
of an epoch from some iterations of the training itself, and the disk for its checkpoints. The exit status is 1 where it
cannot train.
"""
from .options import add_choice_options


def add_arguments(parser):
    parser.add_argument('data', metavar='DATA', help='images, as `mmssl train` takes them')
    add_choice_options(parser)
    parser.add_argument('--out', metavar='DIR', help='folder of the run, whose disk is looked at')


def run(args):
    import sys

    from mmssl.recipes.check import check
    from mmssl.utils.command_words import shell_line
    found = check(
        args.data,
        out=args.out,
        method=args.method,
        model=args.model,
        time=args.time,
        epochs=args.epochs,
        labels=args.labels,
        settings=args.settings,
        seed=args.seed)
    print('\n'.join(found.lines()))
    if found.problems:
        sys.exit(1)
    print('it can train: ' + shell_line(['mmssl', 'train', *args.command_line]))
