# Copyright (c) mmssl contributors. All rights reserved.
"""k-nearest-neighbour classification with the best k up to --max-knn, chosen on the training set."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py')
    parser.add_argument(
        '--rep-space',
        choices=['raw', 'norm', 'shifted-norm'],
        nargs='+',
        default=['raw'],
        help='features as they are, of length one, or of length one after subtraction of their mean (default: raw)')
    parser.add_argument('--max-knn', type=int, default=101, help='largest k (default: 101)')
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.evaluation import best_nn
    from mmssl.utils import dist
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, name='best_nn')
    train, val = run.extract('train'), run.extract('val')
    metrics, rows = {}, []
    for layer in args.layers:
        arrays = [array for part in (train, val) for array in (part[layer].reshape(len(part), -1), part.labels)]
        for space in args.rep_space:
            try:
                found = best_nn.run(*arrays, args.max_knn, space, device=dist.default_device())
            except ValueError as error:
                raise ConfigError(str(error)) from error
            metrics.setdefault(layer, {})[space] = found
            rows.append((layer, space, found['k'], 100 * found['top1'], 100 * max(found['choice_top1']),
                         f'{100 * found["best_on_test"]:.2f} (k={found["best_on_test_k"]})'))
    run.table(rows, ('layer', 'space', 'k', 'top-1', 'top-1, training', 'best on the test set'))
    run.write(metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
