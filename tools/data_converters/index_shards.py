# Copyright (c) mmssl contributors. All rights reserved.
"""Index tar shards in the form of the webdataset library, so that `data_source=dict(type='Shards')` reads them.

Headers alone are read, about 1 GB of shards in a second and process. The index lies in FOLDER/index.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='folder of the shards, *.tar')
    parser.add_argument(
        '--image', metavar='EXTENSION', help='of the images, where a sample has several, such as jpg (default: found)')
    parser.add_argument(
        '--label',
        default='auto',
        metavar='EXTENSION[:KEY]',
        help='where labels are, integers or names of classes: cls, txt, or json:KEY for an entry of a JSON file '
        '(default: cls where there are such members); none: leave them out')
    parser.add_argument('--classes', metavar='FILE', help='names of the classes, one a line')
    parser.add_argument('--workers', type=int, default=2, help='processes that read shards (default: %(default)s)')
    return parser.parse_args()


def main():
    args = parse_args()

    import os

    from tqdm import tqdm

    from mmssl.datasets import BaseDataSource
    from mmssl.datasets.shard_scan import find_shards, index_shards
    from mmssl.utils.errors import printable

    total = sum(os.path.getsize(os.path.join(args.folder, name)) for name in find_shards(args.folder))
    classes = None if args.classes is None else BaseDataSource.get_classes(args.classes)
    label = None if args.label == 'none' else args.label
    with tqdm(total=total, desc='index', unit='B', unit_scale=True) as bar:
        found = index_shards(args.folder, args.image, label, classes, args.workers, bar.update)
    told = f'{found["labelled"]} have labels, {found["classes"]} classes' if found['labelled'] else 'none has a label'
    print(f'{printable(args.folder)}: {found["samples"]} images in {found["shards"]} shards, {told}')
    others = [name for name in found['extensions'] if name not in ('jpg', 'jpeg', 'png')]
    if not found['labelled'] and others:
        print(f'labels may be in {", ".join(sorted(others))}: --label says where')
    if found['left_out']:
        print(f'{len(found["left_out"])} samples have no image and are left out, such as '
              f'{", ".join(map(printable, found["left_out"][:3]))}')


if __name__ == '__main__':
    run_tool(main)
