# Copyright (c) mmssl contributors. All rights reserved.
"""Measure what processes hold of a training with DistributedDataParallel, ZeRO and FSDP, and compare their results.

Start it in several processes: tools/dist_run.sh 2 tools/analysis_tools/benchmark_sharding.py CONFIG
"""
import argparse
import logging

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool

KINDS = ('ddp', 'zero', 'fsdp')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--batch-size', type=int, default=4, help='images of a process, 4 by default')
    parser.add_argument('--size', type=int, help='height and width of the images; the config\'s by default')
    parser.add_argument('--iters', type=int, default=3, help='iterations, 3 by default; the first is not timed')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS, help='differences are to the first')
    parser.add_argument('--double', action='store_true', help='in float64, where only methods make a difference')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    import torch

    from mmssl.benchmarks.sharding import farthest, measure_sharding
    from mmssl.benchmarks.step import image_size
    from mmssl.utils.config import check_sections, load_config
    from mmssl.utils.dist import default_device, get_dist_info, init_dist, is_distributed, leave_together
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.misc import write_json

    logging.getLogger('mmcv').setLevel(logging.WARNING)
    get_root_logger().setLevel(logging.WARNING)
    if args.threads:
        torch.set_num_threads(args.threads)
    init_dist(args.launcher)
    if not is_distributed():
        raise ConfigError('this compares several processes: tools/dist_run.sh 2 '
                          'tools/analysis_tools/benchmark_sharding.py CONFIG')
    rank, world_size = get_dist_info()
    device, report = default_device(), []
    say = print if rank == 0 else lambda *words, **options: None
    say(f'{world_size} processes; MB of the process that holds most\n{"":<8}{"parameters":>12}{"gradients":>12}'
        f'{"optimizer":>12}{"buffers":>10}{"together":>10}{"ratio":>7}{"s":>7}{"loss":>10}{"weights":>10}')
    for path in args.configs:
        cfg = load_config(path, args.cfg_options)
        check_sections(cfg, ('model', 'optimizer', 'data.train'))
        say(path)
        first = None
        for kind in args.kinds:
            found = measure_sharding(cfg, kind, args.batch_size, args.size or image_size(cfg), args.iters, device,
                                     args.double)
            most = {name: max(held[name] for held in found['bytes']) for name in found['bytes'][0]}
            together = max(sum(held[n] for n in ('parameters', 'gradients', 'optimizer')) for held in found['bytes'])
            weights = found.pop('weights')
            first = first or (together, found['losses'], weights)
            row = dict(config=path, kind=kind, most=most, together=together, ratio=together / first[0], **found)
            words = ''.join(f'{most[n] / 1e6:>{w}.1f}' for n, w in zip(most, (12, 12, 12, 10)))
            words += f'{together / 1e6:>10.1f}{row["ratio"]:>7.2f}{found["seconds"]:>7.2f}'
            if rank == 0 and kind != args.kinds[0]:
                row['loss_difference'] = max(abs(a - b) / abs(b) for a, b in zip(found['losses'], first[1]))
                row['farthest'], row['weights_difference'] = farthest(weights, first[2])
                words += f'{row["loss_difference"]:>10.1e}{row["weights_difference"]:>10.1e}'
            say(f'{kind:<8}{words}', flush=True)
            report.append(row)
    if args.out and rank == 0:
        write_json(args.out, report)
    leave_together()


if __name__ == '__main__':
    run_tool(main, distributed=True)
