# Copyright (c) mmssl contributors. All rights reserved.
"""Start, memory and order of a loader over 100 million samples: an index without images, each the same small file.

The index takes 38 bytes a sample on disk, 3.8 GB for 100 million; it is removed at the end.
"""
import argparse
import tempfile

from mmssl.utils.misc import run_tool, write_json
from mmssl.utils.picture_options import positive


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--samples', type=positive, default=100_000_000, help='number of samples')
    parser.add_argument('--shards', type=positive, default=10000, help='number of shards')
    parser.add_argument('--workers', type=positive, default=4, help='worker processes')
    parser.add_argument('--batches', type=positive, default=1000, help='batches of 64 to load')
    parser.add_argument(
        '--window', type=positive, help='shuffle within so many shards (BlockShuffleSampler); default: shuffle all')
    parser.add_argument('--folder', help='where the index is written for the time; default: the folder of the system')
    parser.add_argument('--out', metavar='FILE.json', help='write the result there as well')
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.benchmarks.scale import format_simulation, simulate
    sampler = args.window and dict(type='BlockShuffleSampler', window=args.window)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = simulate(folder, args.samples, args.shards, sampler, args.workers, args.batches)
    print(format_simulation(result))
    if args.out:
        write_json(args.out, result)


if __name__ == '__main__':
    run_tool(main)
