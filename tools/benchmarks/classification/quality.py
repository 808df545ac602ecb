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
    args = parser.parse_args()
    if args.features and args.others:
        parser.error('--features are those of one checkpoint: leave --others out')
    return args


def main():
    args = parse_args()

    import math

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.apis.inference import evaluated_parts, pretrained_model
    from mmssl.evaluation import quality
    from mmssl.utils.dist import broadcast_object, get_rank
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, [f'data.{args.split}'], 'quality')
    metrics = {layer: {} for layer in args.layers}
    for checkpoint in [args.checkpoint, *args.others]:
        model = None
        if args.others:
            model = pretrained_model(run.cfg, checkpoint, evaluated_parts(args.layers), run.logger, args.teacher)
        features = run.extract(args.split, model=model)
        for layer, by_checkpoint in metrics.items():
            found = problem = None
            if get_rank() == 0:
                try:
                    found = quality.run(features[layer].reshape(len(features), -1), args.max_samples, seed=args.seed)
                except ValueError as error:
                    problem = f'{layer}: {error}'
            found, problem = broadcast_object((found, problem), patient=True)
            if problem:
                raise ConfigError(problem)
            by_checkpoint[checkpoint or 'random weights'] = found
    for layer, by_checkpoint in metrics.items():
        if args.others:  # of one network alone it would be 0
            for found, clid in zip(by_checkpoint.values(), quality.clid(list(by_checkpoint.values()))):
                found['clid'] = clid
        found = next(iter(by_checkpoint.values()))
        run.logger.info(f'layer {layer}:')
        run.table([(name, *found.values()) for name, found in by_checkpoint.items()], ('checkpoint', *found))
        for figure in found if args.others else ():
            values = {name: row[figure] for name, row in by_checkpoint.items() if not math.isnan(row[figure])}
            if values:
                best = min(
                    values, key=lambda name: abs(values[name] - 1)) if figure == 'alpha_req' else max(
                        values, key=values.get)
                run.logger.info(f'best by {figure}: {best}')
    run.write(metrics[args.layers[0]] if len(args.layers) == 1 else metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
