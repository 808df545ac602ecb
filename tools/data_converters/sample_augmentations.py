# Copyright (c) mmssl contributors. All rights reserved.
"""Write a static augmented data set: of each image the original and fixed views, NAME-0, NAME-1, NAME-2.

It serves tools/benchmarks/small_models/{instance_discrimination,view_statistics}.py. A run that was cut off goes on
where it was when it is called again with the same arguments.
"""
import argparse
import os
from pathlib import Path

from mmssl.utils.misc import run_tool

AUGMENTATIONS = dict(moco='mocov2', mocov1='mocov1', simclr='simclr', byol='byol')


def parse_args():
    from mmssl.utils.config import add_cfg_options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='folder with class folders or just images, or a config with data.SPLIT')
    parser.add_argument('dst', help='folder to write to')
    parser.add_argument(
        '--aug', choices=AUGMENTATIONS, default='moco', help='augmentation of an algorithm on ImageNet (default: moco)')
    parser.add_argument('--config', help='instead of --aug the pipelines of data.train of this pre-training')
    parser.add_argument(
        '--images-per-class', type=int, default=50, help='drawn by --seed; 0 takes all (default: %(default)s)')
    parser.add_argument('--views', type=int, default=2, help='views of each image (default: %(default)s)')
    parser.add_argument('--split', default='train', help='section of data, where SRC is a config (default: train)')
    parser.add_argument('--seed', type=int, default=0, help='of images and views (default: %(default)s)')
    parser.add_argument('--quality', type=int, help='write views as JPEG of that quality instead of PNG')
    parser.add_argument(
        '--workers', '-j', type=int, default=os.cpu_count(), help='processes; 0 for none besides (default: the CPUs)')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    from tqdm import tqdm

    from mmssl.datasets import build_datasource
    from mmssl.datasets.data_sources.imagenet import find_folders
    from mmssl.datasets.static_views import view_pipelines, write_static_views
    from mmssl.utils.config import check_sections, config_section, load_config

    root = Path(__file__).resolve().parents[2]
    # options are meant for the config of the augmentation
    augmentation = load_config(
        args.config or root / f'configs/selfsup/_base_/datasets/imagenet_{AUGMENTATIONS[args.aug]}.py',
        args.cfg_options)
    check_sections(augmentation, ['data.train'])
    pipelines = view_pipelines(augmentation.data.train)
    if Path(args.src).is_dir():
        kind = 'ImageNet' if find_folders(args.src) else 'Folder'
        source = build_datasource(dict(type=kind, data_prefix=args.src))
    else:
        cfg = load_config(args.src)
        check_sections(cfg, [f'data.{args.split}.data_source'])
        with config_section(cfg, f'data.{args.split}'):
            source = build_datasource(cfg.data[args.split].data_source)
    with tqdm(desc='images', unit='img') as bar:

        def progress(done, total):
            bar.total = total
            bar.update()

        done = write_static_views(source, pipelines, args.dst, args.views, args.images_per_class or None, args.seed,
                                  args.quality, args.workers, progress)
    print(f'{args.dst}: {done["images"]} images in {done["classes"]} classes, with {args.views} views each; '
          f'{done["written"]} written, {done["images"] - done["written"]} were there already')


if __name__ == '__main__':
    run_tool(main)
