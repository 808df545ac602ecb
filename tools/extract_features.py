# Copyright (c) mmssl contributors. All rights reserved.
"""Write features of images to .npy files: any layers, in several processes, resumable.

A run that was killed goes on where it was when it is started again. Other tools take the folder by --features.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py', features=False)
    parser.add_argument('--splits', nargs='+', default=['train', 'val'], help='sections of data (default: train val)')
    parser.add_argument('--out-dir', required=True, metavar='FOLDER', help='for the files')
    parser.add_argument('--dtype', choices=['float32', 'float16'], default='float32', help='(default: %(default)s)')
    parser.add_argument(
        '--shard-size', type=int, help='images whose features are in memory at once (default: 10000, of patches 256)')
    parser.add_argument('--overwrite', action='store_true', help='throw away features with other settings')
    args = parser.parse_args()
    if args.shard_size is None:
        args.shard_size = 256 if any(layer.endswith('patches') for layer in args.layers) else 10000
    return args


def main():
    args = parse_args()

    from mmssl.apis.evaluation import EvaluationRun

    run = EvaluationRun(args, [f'data.{split}' for split in args.splits], 'extract')
    for split in args.splits:
        run.store(split, args.out_dir, args.shard_size, args.overwrite, args.dtype)


if __name__ == '__main__':
    run_tool(main, distributed=True)
