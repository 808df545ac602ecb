# Copyright (c) mmssl contributors. All rights reserved.
"""List the configs that come with mmssl.

WORDs leave those that have all of them, in any place:

  mmssl recipes dino vit          DINO and its kin, with a vision transformer
  mmssl recipes folder            those for a folder of images
"""


def add_arguments(parser):
    parser.add_argument('words', metavar='WORD', nargs='*', help='such as dino, resnet50, 100e or folder')
    parser.add_argument('--json', action='store_true', help='print a list of objects')


def run(args):
    import json

    from mmssl.recipes.shipped import shipped_recipes
    from mmssl.utils.command_words import counted
    from mmssl.utils.errors import ConfigError
    rows = [row for row in shipped_recipes() if all(word.lower() in row.searched for word in args.words)]
    if not rows:
        raise ConfigError(f'no config has the words {" ".join(args.words)}; `mmssl recipes` lists all, and '
                          '`mmssl methods` the methods')
    if args.json:
        print(json.dumps([row.as_dict() for row in rows], indent=2))
        return
    cells = [('config', 'method', 'data', 'epochs', 'published')]
    cells += [(row.name, row.method, row.data, row.length, row.figure) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print('  '.join(f'{cell:<{width}}' for cell, width in zip(row, widths)).rstrip())
    print(f'{counted(len(rows), "config")}, below {", ".join(sorted({row.folder for row in rows})[:4])}'
          f'{", ..." if len({row.folder for row in rows}) > 4 else ""}. Figures are of those who published them: '
          'docs/en/model_zoo.md says who')
