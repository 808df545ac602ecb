# Copyright (c) mmssl contributors. All rights reserved.
"""Time iterations of a config on noise: images/s in each precision and memory format, and where the time goes."""
import argparse
import logging

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool

VARIANTS = ('float32', 'channels_last', 'bfloat16', 'bfloat16+channels_last')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--batch-size', type=int, default=32, help='images a batch, 32 by default')
    parser.add_argument('--size', type=int, help='height and width of the images; the config\'s by default')
    parser.add_argument('--iters', type=int, default=5, help='timed iterations of each variant, 5 by default')
    parser.add_argument(
        '--variants',
        nargs='*',
        default=list(VARIANTS),
        metavar='VARIANT',
        help='float32, or channels_last, bfloat16, float16 and compile joined by +; ratios are to the first. '
        f'Default: {" ".join(VARIANTS)}')
    parser.add_argument('--no-shares', action='store_true', help='leave out the shares of loss, EMA and optimizer')
    parser.add_argument('--ops', action='store_true', help='time EMA and LARS against plain loops over parameters')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    import torch

    from mmssl.benchmarks import step as benchmark
    from mmssl.utils.config import check_sections, load_config
    from mmssl.utils.dist import default_device
    from mmssl.utils.misc import write_json

    logging.getLogger('mmcv').setLevel(logging.WARNING)
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ('model', 'optimizer', 'data.train'))
    size = args.size or benchmark.image_size(cfg)
    device = default_device()
    found = dict(
        config=args.config,
        batch_size=args.batch_size,
        size=size,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu',
        cpu=torch.backends.cpu.get_cpu_capability(),
        amx=bool(getattr(torch.cpu, '_is_amx_tile_supported', lambda: False)()))
    print(', '.join(f'{name} {value}' for name, value in found.items()))
    if args.variants:
        found['variants'] = benchmark.measure_variants(cfg, args.variants, args.batch_size, size, args.iters)
        print(f'\n{"variant":<28}{"images/s":>10}{"ratio":>8}')
        for name, row in found['variants'].items():
            print(f'{name:<28}{row["images_per_second"]:>10.1f}{row["ratio"]:>8.2f}')
    if not args.no_shares:
        variant = args.variants[-1] if args.variants else 'float32'
        found['shares'] = {'variant': variant}
        found['shares'].update(benchmark.measure_shares(cfg, variant, args.batch_size, size, args.iters))
        print(f'\nshares of an iteration, {variant}')
        for name, value in found['shares'].items():
            if name not in ('variant', 'iteration_over_networks'):
                print(f'{name:<28}{value:>10.1%}')
        print(f'iteration / bare networks   {found["shares"]["iteration_over_networks"]:>10.3f}')
    if args.ops:
        found['operations'] = benchmark.measure_operations(cfg, max(5, args.iters))
        print(f'\n{"on the trained parameters":<28}{"plain ms":>10}{"ms":>8}{"ratio":>8}')
        for name, row in found['operations'].items():
            print(f'{name:<28}{row["plain_ms"]:>10.1f}{row["ms"]:>8.1f}{row["ratio"]:>8.2f}')
    if args.out:
        write_json(args.out, found)


if __name__ == '__main__':
    run_tool(main)
