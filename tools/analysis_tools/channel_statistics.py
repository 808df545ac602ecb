# Copyright (c) mmssl contributors. All rights reserved.
"""Mean, standard deviation, range and percentiles of each channel of a folder of images or of a config's data.

The values are those of the stored images, before any step. The last lines are settings for a config.
"""
import argparse

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', metavar='CONFIG|FOLDER', help='a config, or any tree of images or set of shards')
    parser.add_argument('--section', default='data.train', help='of the config (default: %(default)s)')
    parser.add_argument('--num', type=int, help='read so many images, drawn at random (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes that read images (default: %(default)s)')
    parser.add_argument('--depth', choices=['8-bit', 'stored'], default='stored', help='of a folder')
    parser.add_argument('--nodata', type=float, help='of a folder: the value that stands for a missing one')
    parser.add_argument('--layout', choices=['HWC', 'CHW'], help='of a folder of arrays whose shape does not tell')
    parser.add_argument('--extensions', nargs='+', help='of a folder: names that count, such as .npy')
    parser.add_argument('--out', metavar='FILE.json', help='write the statistics there as well')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    import json

    from tqdm import tqdm

    from mmssl.datasets import build_dataset, distinct, is_folder, source_of_folder
    from mmssl.datasets.channel_statistics import PERCENTILES, channel_statistics, normalisation_of
    from mmssl.utils.config import config_section, find_section, load_config
    from mmssl.utils.errors import ConfigError, printable
    from mmssl.utils.misc import atomic_write

    given = {
        name: getattr(args, name)
        for name in ('nodata', 'layout', 'extensions') if getattr(args, name) is not None
    }
    source = {}
    if is_folder(args.data):
        source = dict(source_of_folder(args.data), depth=args.depth, **given)
        dataset = build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=[]))
    elif given:
        raise ConfigError(f'--{next(iter(given))} is for a folder; a config has it in its data source: {args.section}.'
                          f'data_source.{next(iter(given))}')
    else:
        cfg = load_config(args.data, args.cfg_options)
        with config_section(cfg, args.section):
            dataset = build_dataset(find_section(cfg, args.section))
    length = len(distinct(dataset))
    with tqdm(total=min(args.num or length, length), unit='img') as bar:
        found, broken = channel_statistics(dataset, args.num, args.workers, args.seed, bar.update)
    rows = dict(mean=found.mean, std=found.std, min=found.low, max=found.high)
    rows.update((f'{q}%', found.percentile(q)) for q in PERCENTILES)
    rows['missing'] = found.missing
    print(f'{found.images} images of {found.kind}, {len(found.mean)} channels; {len(broken)} cannot be read')
    for _, file, reason in broken[:3]:
        print(f'  {printable(file)}: {printable(reason)}')
    print('channel' + ''.join(f'{name:>12}' for name in rows))
    for channel in range(len(found.mean)):
        print(f'{channel:7}' + ''.join(f'{values[channel]:12.5g}' for values in rows.values()))
    norm = normalisation_of(found)
    print(f'img_norm_cfg = dict({", ".join(f"{name}={value}" for name, value in norm.items())})')
    options = ' '.join(f'img_norm_cfg.{name}="{value}"'.replace(' ', '') for name, value in norm.items())
    # of a folder, how it was read; a config says so itself
    reading = ''.join(f' data.train.data_source.{name}="{value}"' for name, value in source.items()
                      if name not in ('type', 'data_prefix'))
    print(f'--cfg-options model.backbone.in_channels={len(found.mean)} {options}{reading}')
    if args.out:
        with atomic_write(args.out) as file:
            json.dump(
                dict(
                    images=found.images,
                    broken=[name for _, name, _ in broken],
                    type=str(found.kind),
                    img_norm_cfg=norm,
                    channels={
                        name: [float(v) for v in values]
                        for name, values in rows.items()
                    }),
                file,
                indent=1)


if __name__ == '__main__':
    run_tool(main)
