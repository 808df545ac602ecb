# Copyright (c) mmssl contributors. All rights reserved.
"""Time how SwAV and DeepCluster assign images to clusters, on noise, against what the training itself takes."""
import argparse
import logging

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of SwAV or DeepCluster')
    parser.add_argument('--batch-size', type=int, default=32, help='images a batch, 32 by default')
    parser.add_argument('--size', type=int, help='height and width of the first view; the config\'s by default')
    parser.add_argument('--iters', type=int, default=5, help='timed iterations, 5 by default')
    parser.add_argument(
        '--samples',
        type=int,
        default=20000,
        help='DeepCluster: features to cluster, 20000 by default. For a given number of clusters the time an image '
        'hardly depends on it')
    parser.add_argument('--k', type=int, help='DeepCluster: number of clusters, by default the config\'s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    import torch

    from mmssl.benchmarks.assignment import measure_assignment
    from mmssl.benchmarks.step import image_size
    from mmssl.utils.config import check_sections, load_config
    from mmssl.utils.dist import default_device
    from mmssl.utils.misc import write_json

    logging.getLogger('mmcv').setLevel(logging.WARNING)
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ('model', 'optimizer', 'data.train'))
    found = dict(
        config=args.config,
        batch_size=args.batch_size,
        size=args.size or image_size(cfg),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if default_device().type == 'cuda' else 'cpu')
    found.update(measure_assignment(cfg, args.batch_size, found['size'], args.iters, args.samples, args.k))
    print(', '.join(f'{name} {value}' for name, value in found.items() if not isinstance(value, (float, dict))))
    print(f'\n{"ms an image":<28}')
    for name, value in found['milliseconds'].items():
        print(f'{name:<28}{value:>10.4f}')
    print(f'\nassignment: {found["images_per_second"]:.1f} images/s, {found["share"]:.2%} of {found["share_of"]}')
    if args.out:
        write_json(args.out, found)


if __name__ == '__main__':
    run_tool(main)
