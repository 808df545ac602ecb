# Copyright (c) mmssl contributors. All rights reserved.
"""k-means on frozen features, compared with the classes: NMI, ARI, accuracy by the best matching, purity."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py')
    parser.add_argument('--split', default='val', help='section of data (default: %(default)s)')
    parser.add_argument('--num-clusters', type=int, help='default: the number of classes')
    parser.add_argument('--restarts', type=int, default=5, help='runs of k-means (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the first centres')
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.evaluation import clustering
    from mmssl.utils.dist import broadcast_object, get_rank
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, [f'data.{args.split}'], 'cluster')
    features = run.extract(args.split)
    metrics, rows = {}, []
    for layer in args.layers:
        x = features[layer].reshape(len(features), -1)
        found = problem = None
        if get_rank() == 0:
            try:
                found = clustering.run(x, features.labels, args.num_clusters, args.restarts, seed=args.seed)
            except ValueError as error:
                problem = f'{layer}: {error}'
        found, problem = broadcast_object((found, problem), patient=True)
        if problem:
            raise ConfigError(problem)
        metrics[layer] = found
        rows.append((layer, *(100 * found[name] for name in ('nmi', 'ari', 'accuracy', 'purity'))))
    run.table(rows, ('layer', 'NMI', 'ARI', 'accuracy', 'purity'))
    run.write(metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
