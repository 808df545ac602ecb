# Copyright (c) mmssl contributors. All rights reserved.
"""Label-free figures of the features of one checkpoint or several, and which of these is the best by each figure."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py')
    parser.add_argument('--others', nargs='+', default=[], metavar='CHECKPOINT', help='to compare with --checkpoint')
    parser.add_argument('--split', default='val', help='section of data; labels are not used (default: %(default)s)')
    parser.add_argument('--max-samples', type=int, default=4096, help='at most so many images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of k-means')
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.apis.inference import evaluated_parts, pretrained_model
    from mmssl.evaluation import quality
    from mmssl.utils.dist import broadcast_object, get_rank
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, [f'data.{args.split}'], 'quality')
    metrics, layer = {}, args.layers[0]
    if len(args.layers) > 1:
        raise ConfigError(f'--layers: one layer is compared, got {" ".join(args.layers)}')
    for checkpoint in [args.checkpoint, *args.others]:
        model = pretrained_model(run.cfg, checkpoint, evaluated_parts([layer]), run.logger)
        features = run.extract(args.split, model=model)
        found = problem = None
        if get_rank() == 0:
            try:
                found = quality.run(features[layer].reshape(len(features), -1), args.max_samples, seed=args.seed)
            except ValueError as error:
                problem = f'{layer}: {error}'
        found, problem = broadcast_object((found, problem), patient=True)
        if problem:
            raise ConfigError(problem)
        metrics[checkpoint or 'random weights'] = found
    for found, clid in zip(metrics.values(), quality.clid(list(metrics.values()))):
        found['clid'] = clid
    run.table([(name, *found.values()) for name, found in metrics.items()], ('checkpoint', *found))
    if len(metrics) > 1:
        for figure in found:
            best = min(
                metrics, key=lambda name: abs(metrics[name][figure] - 1)) if figure == 'alpha_req' else max(
                    metrics, key=lambda name: metrics[name][figure])
            run.logger.info(f'best by {figure}: {best}')
    run.write(metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
