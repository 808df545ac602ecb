# Copyright (c) mmssl contributors. All rights reserved.
"""The data sets that configs may name: data_source=dict(type='Catalog', name=NAME, split=SPLIT).

A line is a data set and a split, whether its files are there (with --count the number of samples, for which they are
looked through), and where the entry comes from: the package, the file $MMSSL_CATALOG (or else
~/.config/mmssl/catalog.yml), or a module of custom_imports.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='a config whose custom_imports register data sets')
    parser.add_argument('--count', action='store_true', help='build each source that is there, and count its samples')
    parser.add_argument('--present', action='store_true', help='leave out what is absent')
    return parser.parse_args()


def count(name, split):
    """Number of samples, or why there is none."""
    from mmssl.datasets import build_datasource
    try:
        return len(build_datasource(dict(type='Catalog', name=name, split=split)))
    except (ValueError, OSError) as error:
        return f'error: {error}'


def main():
    args = parse_args()

    from mmssl.datasets import CATALOG
    from mmssl.utils.config import load_config
    from mmssl.utils.misc import table_lines
    if args.config:
        load_config(args.config)
    rows = []
    for name, split, absent, origin in CATALOG.describe():
        if absent is None or not args.present:
            there = f'absent: {absent}' if absent else count(name, split) if args.count else 'there'
            rows.append((name, split, there, origin))
    print('\n'.join(table_lines(rows, ('name', 'split', 'samples' if args.count else 'files', 'from'))))


if __name__ == '__main__':
    run_tool(main)
