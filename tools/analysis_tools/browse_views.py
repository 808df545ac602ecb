# Copyright (c) mmssl contributors. All rights reserved.
"""A sheet of what the network sees: the views and targets that a config's data.train makes of some samples."""
import argparse
from pathlib import Path

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import add_sample_options, positive


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', metavar='FILE.png', default='views.png', help='the sheet (default: %(default)s)')
    add_sample_options(parser)
    parser.add_argument('--epochs', type=positive, default=2, help='show the views of the first so many epochs')
    parser.add_argument('--seed', type=int, help='a training with this seed sees these views (default: the config\'s)')
    parser.add_argument(
        '--channels', type=int, nargs='+', metavar='C', help='one, or three as red, green and blue (default: 0 1 2)')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.utils.config import config_section, find_section, load_config
    from mmssl.utils.errors import BrokenImageError, ConfigError
    cfg = load_config(args.config, args.cfg_options)
    section = find_section(cfg, args.data)
    if args.channels and len(args.channels) not in (1, 3):
        raise ConfigError(f'--channels takes one channel or three, got {args.channels}')
    if not args.out.endswith('.png'):
        raise ConfigError(f'--out must end with .png, got {args.out}')

    from mmssl.datasets import build_dataset
    from mmssl.evaluation import plots
    from mmssl.evaluation.views import choose, look_at, readable
    with config_section(cfg, args.data):
        dataset = build_dataset(section)
    picked = choose(len(dataset), args.samples, args.idx)
    seed = args.seed if args.seed is not None else cfg.get('seed') or 0
    samples, broken = [], []
    for idx in picked:
        try:
            with config_section(cfg, args.data):
                samples.append(look_at(dataset, idx, range(args.epochs), seed, cfg.get('img_norm_cfg'), args.channels))
        except BrokenImageError as error:
            if args.broken == 'stop':
                raise
            broken.append((idx, error.filename, error.reason))
    picked = readable(picked, broken)
    epochs = 'epoch 0' if args.epochs == 1 else f'epochs 0 to {args.epochs - 1}'
    plots.plot_views(samples, args.out,
                     Path(args.config).stem, ('image', f'what the network sees in {epochs}, seed {seed}'))
    print(f'{len(picked)} of {len(dataset)} samples of {type(dataset).__name__}: {args.out}')


if __name__ == '__main__':
    run_tool(main)
