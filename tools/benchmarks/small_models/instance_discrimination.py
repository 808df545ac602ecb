# Copyright (c) mmssl contributors. All rights reserved.
"""Accuracy of instance discrimination on a static augmented data set: does an image find its own view?

The set is written by tools/data_converters/sample_augmentations.py.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(
        parser,
        'configs/benchmarks/small_models/static_imagenet.py',
        data_root='folder of the static augmented data set')
    parser.add_argument('-s', '--samples-per-class', type=int, help='only the first so many images of each class')
    parser.add_argument('--topk', type=int, default=5, help='accuracies for k = 1 to this (default: %(default)s)')
    parser.add_argument(
        '--mode',
        choices=['d-sd', 'sd-sd'],
        default='d-sd',
        help='originals look for their views, or view 1 for view 2 (default: %(default)s)')
    parser.add_argument(
        '--negatives',
        choices=['views', 'queries'],
        default='views',
        help="views of all other images, or the other queries as in the authors' code, to compare with published "
        'figures (default: %(default)s)')
    parser.add_argument('--memory-limit', type=float, default=512, help='MiB for one tile of similarities')
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.apis.static_views import extract_views
    from mmssl.evaluation import instance_discrimination
    from mmssl.utils import dist
    from mmssl.utils.errors import ConfigError

    run, originals, views = extract_views(args, 'instance_discrimination')
    ks, metrics, rows = range(1, args.topk + 1), {}, []
    for layer in args.layers:
        try:
            found = metrics[layer] = instance_discrimination.run(
                originals[layer].reshape(len(originals), -1), [view[layer].reshape(len(view), -1) for view in views],
                args.mode,
                ks,
                args.negatives,
                args.memory_limit,
                device=dist.default_device())
        except ValueError as error:
            raise ConfigError(f'--topk {args.topk} --mode {args.mode}: {error}') from error
        rows.append((layer, *(100 * found[f'top{k}'] for k in ks)))
    run.table(rows, ('layer', *(f'top{k}' for k in ks)))
    for row in rows:
        run.logger.info(f'Masked: normal; Mode: {args.mode}; Negatives: {args.negatives}; Layer: {row[0]}; '
                        f'Top1-{args.topk}: [{", ".join(f"{value:.3f}" for value in row[1:])}]; '
                        f'Ckpt: {args.checkpoint}; Dataset: {run.dataset("original").data_source.data_prefix}')
    run.write(metrics[args.layers[0]] if len(args.layers) == 1 else metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
