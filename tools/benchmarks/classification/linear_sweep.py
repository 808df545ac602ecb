# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation on features that are extracted once: many learning rates trained at the same time."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py', batch_size=False)
    parser.add_argument('--lrs', type=float, nargs='+', help='learning rates (default: nine from 0.001 to 10)')
    parser.add_argument('--weight-decays', type=float, nargs='+', default=[0.], help='each with each rate (default: 0)')
    parser.add_argument('--epochs', type=int, default=30, help='passes over the features (default: %(default)s)')
    parser.add_argument(
        '--batch-size',
        dest='batch',
        type=int,
        default=256,
        help='features in a batch of the classifiers (default: %(default)s)')
    parser.add_argument(
        '--views',
        type=int,
        default=0,
        help='train on so many augmented views of each image, by augmented_pipeline of the data config (default: 0, '
        'the image as it is)')
    parser.add_argument('--seed', type=int, default=0, help='of the held-out part and the order of samples')
    args = parser.parse_args()
    if args.views and args.features:
        parser.error('--views needs the images: features in files are those of one view')
    return args


def main():
    args = parse_args()

    import time

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.datasets import build_dataset
    from mmssl.evaluation import linear
    from mmssl.utils import dist
    from mmssl.utils.config import check_sections
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, name='linear')
    dataset = None
    if args.views > 0:
        check_sections(run.data_cfg, ['augmented_pipeline'])
        views = dict(run.data_cfg.data.train, pipeline=run.data_cfg.augmented_pipeline)
        dataset = build_dataset(dict(type='RepeatDataset', dataset=views, times=args.views))
    train, val = run.extract('train', dataset=dataset), run.extract('val')
    count = len(train) // max(1, args.views)
    metrics, rows, best = {}, [], []
    for layer in args.layers:
        start = time.time()
        x = train[layer].reshape(max(1, args.views), count, -1)
        try:
            found = metrics[layer] = linear.run(
                x,
                train.labels[:count],
                val[layer].reshape(len(val), -1),
                val.labels,
                lrs=args.lrs or linear.LRS,
                weight_decays=args.weight_decays,
                epochs=args.epochs,
                batch_size=args.batch,
                seed=args.seed,
                val_fraction=0.1 if len(args.lrs or linear.LRS) * len(args.weight_decays) > 1 else 0,
                device=dist.default_device())
        except ValueError as error:
            raise ConfigError(f'{layer}: {error}') from error
        run.logger.info(f'{layer}: {len(found["sweep"])} classifiers in {time.time() - start:.1f} s')
        for row in found['sweep']:
            held, top1, top5 = ('-' if row[key] is None else 100 * row[key] for key in ('val_top1', 'top1', 'top5'))
            rows.append((layer, f'{row["lr"]:g}', f'{row["weight_decay"]:g}', held, top1, top5,
                         'diverged' if row['diverged'] else ''))
        best.append((layer, f'{found["lr"]:g}', f'{found["weight_decay"]:g}', 100 * found['top1'], 100 * found['top5']))
    run.table(rows, ('layer', 'lr', 'decay', 'held out', 'top1', 'top5', ''))
    run.logger.info('chosen by the held-out part of the training set:')
    run.table(best, ('layer', 'lr', 'decay', 'top1', 'top5'))
    run.write(metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
