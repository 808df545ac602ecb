# Copyright (c) mmssl contributors. All rights reserved.
"""Turn a published list of ImageNet images, such as SimCLR's of 1 % and 10 %, into an annotation file.

A line of the list is n01440764_10026.JPEG, or with its folder before it; one of the output is
`n01440764/n01440764_10026.JPEG 0`, where labels count the class folders by name.
"""
import argparse
import os
from pathlib import Path

from mmssl.utils.misc import atomic_write, run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('subset', help='list of images')
    parser.add_argument('imagenet', help='folder with the class folders, such as data/imagenet/train')
    parser.add_argument('--out', required=True, help='annotation file, such as data/imagenet/meta/train_1percent.txt')
    parser.add_argument('--links', metavar='FOLDER', help='also a folder of class folders with links to the images')
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.datasets.data_sources.base import read_lines
    from mmssl.datasets.data_sources.imagenet import find_folders
    from mmssl.utils.errors import ConfigError

    root = Path(args.imagenet)
    if not root.is_dir():
        raise ConfigError(f'there is no folder {root}; it should hold the class folders, such as n01440764')
    labels = find_folders(args.imagenet)
    names = [Path(line).name for _, line in read_lines(args.subset)]
    paths = [f'{name.rpartition("_")[0]}/{name}' for name in names]
    seen = set()
    for what, wrong in (
        ('name no class folder', [path for path in paths if path.split('/')[0] not in labels]),
        ('are there twice', [path for path in paths if path in seen or seen.add(path)]),
        ('have no image', [path for path in paths if not (root / path).is_file()]),
    ):
        if wrong:
            raise ConfigError(f'{args.subset}: {len(wrong)} of {len(paths)} lines {what} in {root}: '
                              f'{", ".join(wrong[:3])}')
    if not paths:
        raise ConfigError(f'{args.subset} names no image')
    if args.links:
        for path in paths:
            link = Path(args.links) / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                os.symlink((root / path).resolve(), link)
    with atomic_write(args.out) as file:
        file.writelines(f'{path} {labels[path.split("/")[0]]}\n' for path in paths)
    print(f'{args.out}: {len(paths)} images of {len({path.split("/")[0] for path in paths})} classes of {len(labels)}')


if __name__ == '__main__':
    run_tool(main)
