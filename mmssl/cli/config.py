# Copyright (c) mmssl contributors. All rights reserved.
"""Print or write the config that `mmssl train` would use.

DATA is a folder, a list of images, shards, a Parquet or Arrow file, a zip archive, or a name of the catalog such as
digits or digits:test. What is printed is a config file, whose head says why each value is what it is:

  mmssl config FOLDER > mine.py
  mmssl config FOLDER --method dino --model vit_small --time 2h --out mine.py
"""
from .options import add_choice_options


def add_arguments(parser):
    parser.add_argument('data', metavar='DATA', help='images')
    add_choice_options(parser)
    parser.add_argument('--out', metavar='FILE.py', help='write the config there, and print the choices alone')


def run(args):
    import sys
    from pathlib import Path

    from mmssl.recipes import fit
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.misc import atomic_write
    if args.out and not args.out.endswith('.py'):
        raise ConfigError(f'--out {args.out}: a config is a file whose name ends with .py')
    recipe = fit(
        args.data,
        args.method,
        args.model,
        time=args.time,
        epochs=args.epochs,
        labels=args.labels,
        settings=args.settings,
        seed=args.seed)
    if not args.out:
        print(recipe.text(), end='')
        for warning in recipe.warnings:
            print(f'warning: {warning}', file=sys.stderr)
        return
    with atomic_write(args.out) as file:
        file.write(recipe.text())
    print('\n'.join([*recipe.lines(), *(f'warning: {warning}' for warning in recipe.warnings)]))
    print(f'{Path(args.out)}: mmssl train --from {args.out} trains by it')
