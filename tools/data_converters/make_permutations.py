# Copyright (c) mmssl contributors. All rights reserved.
"""Choose permutations that lie far apart, the classes of Jigsaw, and write them to a .npy file.

Recipes need no file: PermutePatches(permutations=2000) makes the set that this tool makes for --number 2000. A file
serves where many processes should not each make a large set, or where other programs read it. With --check the tool
prints the distances of a file instead; its patches may count from 1.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--number', type=int, default=2000, help='permutations (default: %(default)s)')
    parser.add_argument('--patches', type=int, default=9, help='patches that are permuted (default: %(default)s)')
    parser.add_argument(
        '--rule',
        choices=('max-avg', 'max-min'),
        default='max-avg',
        help='what is largest of the Hamming distances of each permutation to those chosen before it: the mean or the '
        'minimum (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the first permutation and of ties')
    parser.add_argument('--out', metavar='FILE.npy', default='permutations.npy', help='default: %(default)s')
    parser.add_argument('--check', metavar='FILE.npy', help='print the distances of this file, and write none')
    return parser.parse_args()


def main():
    args = parse_args()
    import time

    import numpy as np

    from mmssl.datasets.permutations import choose_permutations, hamming_distances, load_permutations
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.misc import atomic_write
    if args.check:
        chosen, what = load_permutations(args.check), args.check
    else:
        if not args.out.endswith('.npy'):
            raise ConfigError(f'--out must end with .npy, got {args.out}')
        begin = time.perf_counter()
        chosen = choose_permutations(args.number, args.patches, args.rule, args.seed)
        what = f'{args.out} ({args.rule}, {time.perf_counter() - begin:.1f} s)'
        with atomic_write(args.out, 'wb') as file:
            np.save(file, chosen)
    print(f'{what}: {len(chosen)} permutations of {chosen.shape[1]} patches')
    if len(chosen) > 1:
        found = hamming_distances(chosen)
        print(f'Hamming distances: minimum {found["minimum"]}, mean {found["mean"]:.4f}')
        print('pairs by distance: ' + ', '.join(f'{d}: {n}' for d, n in enumerate(found['counts']) if n))


if __name__ == '__main__':
    run_tool(main)
