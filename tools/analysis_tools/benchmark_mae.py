# Copyright (c) mmssl contributors. All rights reserved.
"""Time training steps of MAE on noise: ours against timm's blocks, and how the time falls with the mask ratio."""
import argparse
import time

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', choices=('tiny', 'small', 'base'), default='small', help='ViT-Ti, S or B (small)')
    parser.add_argument('--batch-size', type=int, default=16, help='images a step, 16 by default')
    parser.add_argument('--img-size', type=int, default=224, help='height and width of the images, 224 by default')
    parser.add_argument(
        '--mask-ratios', type=float, nargs='+', default=[0.75], help='timm is timed at the first of them (0.75)')
    parser.add_argument(
        '--decoder',
        type=int,
        nargs=3,
        default=[512, 8, 16],
        metavar=('DIMS', 'LAYERS', 'HEADS'),
        help='the decoder, by default that of the paper: 512 8 16')
    parser.add_argument('--bfloat16', action='store_true', help='under autocast')
    parser.add_argument('--iters', type=int, default=5, help='timed steps of each, 5 by default')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU')
    parser.add_argument(
        '--processor-time', action='store_true', help='of this program alone, where others run on the same CPU')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    args = parser.parse_args()
    if args.batch_size < 1 or args.iters < 1:
        parser.error(f'--batch-size and --iters count from 1, got {args.batch_size} and {args.iters}')
    if args.img_size % 16 or args.img_size < 16:
        parser.error(f'--img-size must be a multiple of the patch, 16, got {args.img_size}')
    if not all(0 <= ratio < 1 for ratio in args.mask_ratios):
        parser.error(f'--mask-ratios must be within 0 (inclusive) and 1, got {args.mask_ratios}')
    return args


def main():
    args = parse_args()
    clock = time.process_time if args.processor_time else time.perf_counter
    import torch

    from mmssl.benchmarks import mae
    from mmssl.utils.misc import write_json
    if args.threads:
        torch.set_num_threads(args.threads)
    seconds = mae.run(args.size, args.batch_size, args.img_size, args.mask_ratios, args.bfloat16, args.iters,
                      args.decoder, clock)
    first = next(iter(seconds.values()))
    print(f'ViT-{args.size}/16, {args.img_size} px, batch {args.batch_size}, '
          f'{"bfloat16" if args.bfloat16 else "float32"}, decoder {args.decoder}, torch {torch.__version__}, '
          f'{torch.get_num_threads()} threads\n')
    print(f'{"step, mask ratio":<20}{"ms":>9}{"images/s":>10}{"speed / timm":>14}')
    for name, value in seconds.items():
        print(f'{name:<20}{1e3 * value:>9.1f}{args.batch_size / value:>10.1f}{first / value:>14.2f}')
    if args.out:
        write_json(args.out, dict(vars(args), torch=torch.__version__, seconds=seconds))


if __name__ == '__main__':
    run_tool(main)
