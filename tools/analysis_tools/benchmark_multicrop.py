# Copyright (c) mmssl contributors. All rights reserved.
"""Time training steps of DINO with many crops on noise: ours, the same on timm's blocks, ours with a pass a crop."""
import argparse
import time

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', choices=('tiny', 'small', 'base'), default='small', help='ViT-Ti, S or B (small)')
    parser.add_argument('--batch-size', type=int, default=4, help='images a step, 4 by default')
    parser.add_argument(
        '--large', type=int, nargs=2, default=[2, 224], metavar=('NUMBER', 'SIZE'), help='large crops (2 224)')
    parser.add_argument(
        '--small', type=int, nargs=2, default=[8, 96], metavar=('NUMBER', 'SIZE'), help='small crops (8 96)')
    parser.add_argument('--prototypes', type=int, default=65536, help='width of the last layer, 65536 by default')
    parser.add_argument('--bfloat16', action='store_true', help='under autocast')
    parser.add_argument('--iters', type=int, default=5, help='timed steps of each, 5 by default')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU')
    parser.add_argument(
        '--processor-time', action='store_true', help='of this program alone, where others run on the same CPU')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    args = parser.parse_args()
    if min(args.batch_size, args.iters, args.prototypes) < 1:
        parser.error('--batch-size, --iters and --prototypes count from 1')
    for name, (number, size), least in (('--large', args.large, 2), ('--small', args.small, 0)):
        if number < least or size < 16 or size % 16:
            parser.error(f'{name} are at least {least} crops whose size is a multiple of the patch, 16; got {number} '
                         f'of {size}')
    return args


def main():
    args = parse_args()
    clock = time.process_time if args.processor_time else time.perf_counter
    import torch

    from mmssl.benchmarks import multicrop
    from mmssl.utils.dist import default_device
    from mmssl.utils.misc import write_json
    if args.threads:
        torch.set_num_threads(args.threads)
    head = dict(multicrop.HEAD, prototypes=args.prototypes)
    seconds = multicrop.run(
        args.size, args.batch_size, args.large, args.small, args.bfloat16, args.iters, head=head, clock=clock)
    print(f'DINO, ViT-{args.size}/16, {args.large[0]} x {args.large[1]} px and {args.small[0]} x {args.small[1]} px, '
          f'batch {args.batch_size}, {args.prototypes} prototypes, {"bfloat16" if args.bfloat16 else "float32"}, '
          f'{default_device().type}, torch {torch.__version__}, {torch.get_num_threads()} threads\n')
    print(f'{"step":<20}{"ms":>9}{"images/s":>10}{"time / mmssl":>14}')
    for name, value in seconds.items():
        print(f'{name:<20}{1e3 * value:>9.1f}{args.batch_size / value:>10.2f}{value / seconds["mmssl"]:>14.2f}')
    if args.out:
        write_json(args.out, dict(vars(args), torch=torch.__version__, seconds=seconds))


if __name__ == '__main__':
    run_tool(main)
