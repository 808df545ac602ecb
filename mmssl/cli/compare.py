# Copyright (c) mmssl contributors. All rights reserved.
"""Compare runs: the settings that differ, figures side by side, and with --out the curves in one picture.

  mmssl compare work_dirs/first work_dirs/second --out curves.png
"""


def add_arguments(parser):
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a run, or a log TIME.log.json')
    parser.add_argument('--out', metavar='FILE', help='picture of the curves: .png, .pdf or .svg')
    parser.add_argument(
        '--keys', nargs='+', metavar='KEY', help='what is drawn, a panel each (default: loss, kNN and quality)')


def run(args):
    from mmssl.apis.comparison import compare
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.misc import table_lines
    if args.keys and not args.out:
        raise ConfigError(f'--keys {" ".join(args.keys)} are of the picture: give --out FILE.png too')
    found = compare(args.runs)
    rows = [(key, *map(_short, values)) for key, values in found.settings.items()]
    print('\n'.join(table_lines(rows, ['settings that differ', *found.names],
                                len(found.names) + 1)) if rows else 'the settings are the same')
    print()
    rows = [(name, *(_figure(name, value) for value in values)) for name, values in found.figures.items()]
    print('\n'.join(table_lines(rows, ['figures', *found.names])))
    if args.out:
        found.plot(args.out, args.keys)
        print(f'\ncurves: {args.out}')


def _short(text):
    return text if len(text) <= 40 else f'{text[:37]}...'


def _figure(name, value):
    if value is None:
        return '-'
    if name.startswith('kNN') or name == 'waiting for data':
        return f'{value:.1%}'
    return f'{value:.4f}' if name.startswith('loss') else f'{value:.6g}' if value >= 1000 else f'{value:.3g}'
