# Copyright (c) mmssl contributors. All rights reserved.
"""Draw k positives of each class, several times: train_targets_sample1_k1.npy and so on.

For each class there are k images with it and 19 k without; all others are -1, left out. The files are read by
tools/benchmarks/classification/svm_voc07/test_svm.py --low-shot --samples FOLDER, which draws the same without them.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import atomic_write, run_tool


def numbers(text):
    """'1,2,4' to [1, 2, 4]."""
    return [int(word) for word in text.replace(',', ' ').split()]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--targets-data-file', '--targets_data_file', required=True, help='trainval_targets.npy, N x C of 1, 0 and -1')
    parser.add_argument('--output-path', '--output_path', required=True, help='folder to write to')
    parser.add_argument(
        '--k-values', '--k_values', type=numbers, default=[1, 2, 4, 8, 16, 32, 64, 96], help='(default: 1,2,4,...,96)')
    parser.add_argument('--num-samples', '--num_samples', type=int, default=5, help='draws (default: 5)')
    parser.add_argument('--seed', type=int, default=0, help='of the draws (default: 0)')
    return parser.parse_args()


def main():
    args = parse_args()

    import numpy as np

    from mmssl.evaluation.svm import draw_samples
    from mmssl.utils.errors import ConfigError

    path = Path(args.targets_data_file)
    if not path.is_file():
        raise ConfigError(f'there is no {path}; tools/data_converters/create_voc_data_files.py writes it')
    targets = np.load(path)
    if targets.ndim != 2 or not np.isin(targets, (1, 0, -1)).all():
        raise ConfigError(f'{path}: targets must be N x C of 1, 0 and -1, got shape {targets.shape} with values '
                          f'{np.unique(targets)[:5].tolist()}')
    if not args.k_values or min(args.k_values) < 1 or args.num_samples < 1:
        raise ConfigError(f'k and the number of draws must be positive, got {args.k_values} and {args.num_samples}')
    try:
        drawn = {
            (k, draw): draw_samples(targets, k, draw, args.seed)
            for k in args.k_values
            for draw in range(args.num_samples)
        }
    except ValueError as error:
        raise ConfigError(f'{path}: {error}') from error
    for (k, draw), sample in drawn.items():
        with atomic_write(Path(args.output_path) / f'train_targets_sample{draw + 1}_k{k}.npy', 'wb') as file:
            np.save(file, sample)
    print(f'{len(drawn)} files in {args.output_path}')


if __name__ == '__main__':
    run_tool(main)
