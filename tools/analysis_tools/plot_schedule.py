# Copyright (c) mmssl contributors. All rights reserved.
"""Draw what a config does to learning rates, weight decay, momentum and other numbers in the course of a training."""
import argparse
import csv
import json
from pathlib import Path

from mmssl.utils.config import add_cfg_options, check_sections, config_section, load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write, run_tool

PICTURES = ('.png', '.pdf', '.svg')


def positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'a whole number from 1 on, got {text}')
    return int(text)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--out',
        metavar='FILE',
        default='schedules.png',
        help='.png, .pdf or .svg for a picture, .json or .csv for the numbers (default: schedules.png)')
    parser.add_argument(
        '--iterations-per-epoch', type=positive, metavar='N', help='without it the training data are looked at')
    parser.add_argument(
        '--world-size',
        type=positive,
        default=1,
        metavar='N',
        help='processes of the training, whose number decides about an epoch and about auto_scale_lr (default: 1)')
    parser.add_argument(
        '--points',
        type=positive,
        default=2000,
        metavar='N',
        help='about how many iterations are drawn (default: 2000)')
    add_cfg_options(parser)
    return parser.parse_args()


def count_iterations(cfg, processes):
    """Iterations of an epoch of a config's training data; 100 where the data are not there, with a word."""
    from mmssl.core.training import build_loader
    from mmssl.datasets import build_dataset
    try:
        with config_section(cfg, 'data.train'):
            loader = build_loader(build_dataset(cfg.data.train), cfg)
    except FileNotFoundError as error:
        print(f'The training data are not there ({str(error).partition(";")[0]}): 100 iterations an epoch are assumed, '
              '--iterations-per-epoch says how many there are')
        return 100
    samples = -(-len(loader.sampler) // processes)  # the last ones are filled up
    size, drop_last = loader.batch_sampler.batch_size, loader.batch_sampler.drop_last
    return max(1, samples // size if drop_last else -(-samples // size))


def draw(positions, curves, epoch_length, path, title):
    from mmssl.evaluation.plots import plot_curves
    panels = {}
    for curve in curves:
        label = ', '.join(curve.parts) or 'model'
        same = [other for other in curves if (other.name, other.parts) == (curve.name, curve.parts)]
        if len(same) > 1:
            label += f' (up to {max(curve.values):.3g})'
        panels.setdefault(curve.name, []).append((label, [p / epoch_length for p in positions], curve.values))
    plot_curves(panels, path, title.replace(': ', '\n'))


def write_json(positions, curves, epoch_length, path):
    with atomic_write(path, 'w') as file:
        numbers = [dict(name=curve.name, parts=curve.parts, values=curve.values) for curve in curves]
        json.dump(dict(iterations_per_epoch=epoch_length, iterations=positions, curves=numbers), file)


def write_csv(positions, curves, epoch_length, path):
    with atomic_write(path, 'w') as file:
        writer = csv.writer(file)
        writer.writerow(['iteration', 'epoch', *(' '.join([curve.name, *curve.parts]) for curve in curves)])
        writer.writerows(
            zip(positions, [p / epoch_length for p in positions], *(curve.values for curve in curves), strict=True))


def main():
    args = parse_args()
    suffix = Path(args.out).suffix
    if suffix not in (*PICTURES, '.json', '.csv'):
        raise ConfigError(f'--out ends with {", ".join(PICTURES)}, .json or .csv, got {args.out}')
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['model', 'data.samples_per_gpu', 'optimizer', 'runner'])
    import torch

    from mmssl.core.lr_scaling import global_batch, scale_rates
    from mmssl.core.rehearsal import rehearse
    from mmssl.core.schedule_preview import describe_curves
    from mmssl.models import build_algorithm
    from mmssl.utils.config_names import check_settings
    from mmssl.utils.logger import get_root_logger
    check_settings(cfg)
    with config_section(cfg, 'auto_scale_lr'):
        cfg = scale_rates(cfg, global_batch(cfg, args.world_size), logger=get_root_logger(log_level='WARNING'))
    epoch_length = args.iterations_per_epoch or count_iterations(cfg, args.world_size)
    try:
        with torch.device('meta'), config_section(cfg, 'model'):  # shapes alone
            model = build_algorithm(cfg.model)
    except (NotImplementedError, RuntimeError):  # a part of the user's looks at numbers when it is made
        model = build_algorithm(cfg.model)
    total, positions, curves = rehearse(model, cfg, epoch_length, args.points)
    title = f'{Path(args.config).stem}: {total} iterations, {epoch_length} an epoch'
    if suffix in PICTURES:
        draw(positions, curves, epoch_length, args.out, title)
    else:
        dict([('.json', write_json), ('.csv', write_csv)])[suffix](positions, curves, epoch_length, args.out)
    print('\n'.join([title, *describe_curves(positions, curves, epoch_length), args.out]))


if __name__ == '__main__':
    run_tool(main)
