# Copyright (c) mmssl contributors. All rights reserved.
"""Time the memory bank of NPID and PIRL (draw, score with the NCE loss, update) against the straightforward form."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--length', type=int, default=100000, help='entries of the bank, 100000 by default')
    parser.add_argument('--feat-dim', type=int, default=128, help='dimension of a feature, 128 by default')
    parser.add_argument('--batch-size', type=int, default=32, help='images of a process, 32 by default')
    parser.add_argument('--neg-num', type=int, default=4096, help='entries drawn for an image, 4096 by default')
    parser.add_argument('--iters', type=int, default=5, help='timed calls of each, 5 by default')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU')
    parser.add_argument('--device', help='such as cuda:0 or cpu; by default the GPU where there is one')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    import torch

    from mmssl.benchmarks.memory import measure_memory
    from mmssl.utils.dist import default_device, use_device
    from mmssl.utils.misc import write_json

    if args.threads:
        torch.set_num_threads(args.threads)
    use_device(args.device)
    device = default_device()
    found = dict(
        length=args.length,
        feat_dim=args.feat_dim,
        batch_size=args.batch_size,
        neg_num=args.neg_num,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu')
    print(', '.join(f'{name} {value}' for name, value in found.items()))
    found['steps'] = measure_memory(args.length, args.feat_dim, args.batch_size, args.neg_num, args.iters, device)
    print(f'\n{"":<10}{"ms":>10}{"plain, ms":>12}{"ratio":>8}{"error":>12}{"plain error":>14}')
    for name, step in found['steps'].items():
        errors = ''.join(f'{step[key]:>{width}.1e}' for key, width in (('error', 12), ('plain_error', 14))
                         if key in step)
        print(f'{name:<10}{1e3 * step["seconds"]:>10.3f}{1e3 * step["plain"]:>12.3f}{step["ratio"]:>8.2f}{errors}')
    if args.out:
        write_json(args.out, found)


if __name__ == '__main__':
    run_tool(main)
