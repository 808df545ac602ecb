# Copyright (c) mmssl contributors. All rights reserved.
"""Alignment, intra-class alignment and uniformity of originals (D) and of their static views (SD).

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
    return parser.parse_args()


def main():
    args = parse_args()

    import math

    from mmssl.apis.static_views import extract_views
    from mmssl.evaluation import view_statistics
    from mmssl.utils import dist
    from mmssl.utils.errors import ConfigError

    run, originals, views = extract_views(args, 'view_statistics')
    headings = {
        'D-SD align': 'd_sd_alignment',
        'SD-SD align': 'sd_sd_alignment',
        'D cls-align': 'd_class_alignment',
        'SD cls-align': 'sd_class_alignment',
        'D uniform': 'd_uniformity',
        'SD uniform': 'sd_uniformity'
    }
    metrics, rows = {}, []
    for layer in args.layers:
        try:
            found = metrics[layer] = view_statistics.run(
                originals[layer].reshape(len(originals), -1), [view[layer].reshape(len(view), -1) for view in views],
                originals.labels,
                device=dist.default_device())
        except ValueError as error:
            raise ConfigError(str(error)) from error
        # a set without classes, or with one view, lacks some
        rows.append((layer, *(f'{found.get(name, math.nan):.4f}' for name in headings.values())))
    run.table(rows, ('layer', *headings))
    run.logger.info(
        f'{found["num_images"]} images with {found["num_views"]} views each, {found["num_classes"]} classes '
        f'with pairs; Ckpt: {args.checkpoint}; '
        f'Dataset: {run.dataset("original").data_source.data_prefix}')
    run.write(metrics[args.layers[0]] if len(args.layers) == 1 else metrics)


if __name__ == '__main__':
    run_tool(main, distributed=True)
