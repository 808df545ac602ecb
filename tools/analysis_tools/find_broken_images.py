# Copyright (c) mmssl contributors. All rights reserved.
"""List all images of a folder or of a config's data that cannot be read, with the reason of each.

The exit status is 0 where all can be read and 1 where some cannot.
"""
import argparse
import sys

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', metavar='CONFIG|FOLDER', help='a config, or any tree of images or set of shards')
    parser.add_argument(
        '--sections', nargs='+', metavar='SECTION', help='of the config (default: those of data.train, val and test)')
    parser.add_argument(
        '--depth',
        choices=['8-bit', 'stored'],
        default='8-bit',
        help='in which a folder is read (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes that read images (default: %(default)s)')
    parser.add_argument('--out', metavar='FILE.json', help='write files and reasons there as well')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    from tqdm import tqdm

    from mmssl.apis.broken_images import find_broken
    from mmssl.datasets import build_dataset, distinct, is_folder, source_of_folder
    from mmssl.datasets.loader import write_broken
    from mmssl.utils.config import config_section, find_section, load_config
    from mmssl.utils.errors import ConfigError, printable

    if is_folder(args.data):
        source = dict(source_of_folder(args.data), depth=args.depth)
        sets = {args.data: build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=[]))}
    else:
        cfg = load_config(args.data, args.cfg_options)
        there = [f'data.{name}' for name in ('train', 'val', 'test') if cfg.get('data', {}).get(name) is not None]
        if not (args.sections or there):
            raise ConfigError(f'{args.data} has none of data.train, data.val and data.test; --sections names others')
        sets = {}
        for name in args.sections or there:
            with config_section(cfg, name):
                sets[name] = build_dataset(find_section(cfg, name))
    broken = []
    for name, dataset in sets.items():
        with tqdm(total=len(distinct(dataset)), desc=printable(name), unit='img') as bar:
            found = find_broken(dataset, args.workers, bar.update)
        for _, file, reason in found:
            print(f'{printable(file)}: {printable(reason)}')
        print(f'{printable(name)}: {len(found)} of {len(distinct(dataset))} images cannot be read')
        broken += found
    if args.out:
        write_broken(args.out, broken)
    sys.exit(1 if broken else 0)


if __name__ == '__main__':
    run_tool(main)
