# Copyright (c) mmssl contributors. All rights reserved.
"""Pack images into tar shards with an index, which `data_source=dict(type='Shards', data_prefix=OUT)` reads.

The form is that of the webdataset library. Labels, names of classes and of files are kept. A run that was stopped goes
on where it was when it is started again. The same images and options make the same bytes, with any number of workers.
"""
import argparse

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='FOLDER|CONFIG', help='folder of images, or a config')
    parser.add_argument('out', help='folder for the shards')
    parser.add_argument(
        '--type',
        metavar='SOURCE',
        help='data source that reads the folder, such as ImageNet for class '
        'folders (default: Folder, or ImageList with --ann-file)')
    parser.add_argument('--ann-file', metavar='FILE', help='list of the images in the folder, with their labels')
    parser.add_argument(
        '--extensions',
        nargs='+',
        metavar='.EXT',
        help='ends of the names that count, such as .npy (default: those of images)')
    parser.add_argument('--section', default='data.train', help='of the config (default: %(default)s)')
    parser.add_argument('--name', default='images', help='of the shards, NAME-000000.tar (default: %(default)s)')
    parser.add_argument(
        '--shorter-side',
        type=int,
        metavar='PIXELS',
        help='shrink larger images so (default: files are '
        'taken as they are)')
    parser.add_argument(
        '--quality', type=int, default=90, help='of JPEG where images are shrunk (default: %(default)s)')
    parser.add_argument('--samples', type=int, help='images of a shard (default: as --shard-size says)')
    parser.add_argument(
        '--shard-size',
        type=float,
        default=250,
        metavar='MB',
        help='about so large is a shard (default: '
        '%(default)s)')
    parser.add_argument('--shuffle', action='store_true', help='mix the images, as shards on a server should have them')
    parser.add_argument('--seed', type=int, default=0, help='of --shuffle (default: %(default)s)')
    parser.add_argument(
        '--broken',
        choices=('skip', 'stop', 'keep'),
        default='skip',
        help='what to do with images that '
        'cannot be read: leave them out and list them in OUT/broken.json, end, or pack them as they are '
        '(default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes that read and encode (default: %(default)s)')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    from pathlib import Path

    from tqdm import tqdm

    from mmssl.datasets import build_datasource, is_folder, source_of_folder
    from mmssl.datasets.pack import pack_images
    from mmssl.utils.config import config_section, find_section, load_config
    from mmssl.utils.errors import ConfigError, printable

    if is_folder(args.source):
        source = source_of_folder(args.source)
        if args.type or args.ann_file:
            source.update(type=args.type or 'ImageList', ann_file=args.ann_file)
        if args.extensions:
            source['extensions'] = args.extensions
        source = build_datasource(source)
    else:
        if args.ann_file or args.type or args.extensions:
            raise ConfigError(f'--ann-file, --type and --extensions are for a folder, and {args.source} is none')
        cfg = load_config(args.source, args.cfg_options)
        with config_section(cfg, args.section):
            section = find_section(cfg, args.section)
            if not hasattr(section, 'get') or 'type' not in (section.get('data_source') or ()):
                raise ConfigError(f'{args.section} has not one data_source: --section names the part that has')
            source = build_datasource(section['data_source'])
    with tqdm(total=len(source), desc='pack', unit='img') as bar:
        found = pack_images(source, args.out, args.name, args.shorter_side, args.quality, args.samples, args.shard_size,
                            args.seed if args.shuffle else None, args.broken, args.workers, bar.update)
    told = f', {found["kept"]} of them were there already' if found['kept'] else ''
    print(f'{printable(args.out)}: {found["samples"]} images in {found["shards"]} shards{told}')
    if found['broken']:
        print(f'{len(found["broken"])} images cannot be read and are left out: {Path(args.out) / "broken.json"} lists '
              'them')


if __name__ == '__main__':
    run_tool(main)
