# Copyright (c) mmssl contributors. All rights reserved.
"""Instance retrieval with the descriptors of a backbone: mAP and mP@k by exact search.

--data-root takes the place of the folder of the benchmark that the data config names.
"""
import argparse


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(
        parser, 'configs/benchmarks/retrieval/roxford5k.py', layers=('stage4', ), features=False)  # of other sizes
    parser.set_defaults(pool_type='gem:3')
    parser.add_argument('--image-size', type=int, default=1024, help='longer side in pixels (default: %(default)s)')
    parser.add_argument(
        '--scales', type=float, nargs='+', default=[1.], help='factors of that size; descriptors of all are averaged')
    parser.add_argument('--kappas', type=int, nargs='+', default=[1, 5, 10], help='k of the precision among the first')
    parser.add_argument(
        '--whitening-data', metavar='FOLDER', help='learn PCA whitening on these images (or those of data.whitening)')
    parser.add_argument(
        '--num-samples', type=int, metavar='N', help='the first N images of the database alone, for a quick look')
    parser.add_argument(
        '--whitening-samples', type=int, metavar='N', help='learn it on N of these images (default: all)')
    parser.add_argument('--whitening-dims', type=int, help='components that are kept (default: all that vary)')
    parser.add_argument('--whitening', metavar='FILE', help='.npz: take this whitening, or write what is learned there')
    parser.add_argument(
        '--whiten-regions',
        action='store_true',
        help='with --pool-type rmac: whiten the descriptor of each region, and not their sum, as R-MAC does')
    args = parser.parse_args()
    if args.whitening and len(args.layers) > 1:
        parser.error('--whitening is of one layer: name one by --layers')
    poolings = args.pool_type.values() if isinstance(args.pool_type, dict) else [args.pool_type]
    if args.whiten_regions and not all(str(name).startswith('rmac') for name in poolings):
        parser.error(f'--whiten-regions is for regions, those of --pool-type rmac or rmac:L, not {args.pool_type}')
    if args.image_size < 1 or min(args.scales) <= 0 or min(args.kappas) < 1:
        parser.error('--image-size, --scales and --kappas must be positive')
    return args


def descriptors(run, split):
    """By layer, the mean over all scales of descriptors of unit length, of unit length itself; and their `idx`."""
    import copy

    import numpy as np

    from mmssl.datasets.pipelines import Compose

    def unit(x):
        x = x.reshape(len(x), -1)
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

    sums = {}
    for scale in run.args.scales:
        dataset = copy.copy(run.dataset(split))
        size = max(1, round(run.args.image_size * scale))
        dataset.pipeline = Compose([dict(type='ResizeLongerSide', size=size), *run.data_cfg.data[split]['pipeline']])
        found = run.extract(split, dataset=dataset)
        for layer in run.args.layers:
            sums[layer] = sums.get(layer, 0) + unit(found[layer])
    return {layer: unit(total) for layer, total in sums.items()}, found.index


def whitenings(run):
    """By layer a Whitening, or None, and words that say where it is from."""
    from pathlib import Path

    from mmssl.evaluation.whitening import Whitening
    from mmssl.utils import dist
    from mmssl.utils.errors import ConfigError

    args, data = run.args, run.data_cfg.data
    if args.whitening_data:
        # prepared as the database, but for where the images are
        data.whitening = dict(data.database, data_source=dict(type='Folder', data_prefix=args.whitening_data))
    elif args.whitening and Path(args.whitening).is_file():
        return {layer: Whitening.load(args.whitening) for layer in args.layers}, args.whitening
    if data.get('whitening') is None:
        if args.whitening:
            raise FileNotFoundError(
                f'--whitening {args.whitening}: there is no such file, and neither --whitening-data '
                'nor data.whitening to learn it on')
        return {layer: None for layer in args.layers}, 'none'
    if args.whitening_samples is not None:
        data.whitening['data_source']['subset'] = dict(num=args.whitening_samples)
    learned = {}
    found, kept = descriptors(run, 'whitening')
    for layer, features in found.items():
        try:
            learned[layer] = Whitening.learn(features, args.whitening_dims)
        except ValueError as error:
            raise ConfigError(f'whitening of {layer}: {error}') from error
    if args.whitening and dist.get_rank() == 0:
        learned[args.layers[0]].save(args.whitening)
    return learned, f'PCA learned on {len(kept)} images of {run.dataset("whitening").data_source.data_prefix}'


def regions_whitened(pool_type, layer, whitening):
    """The pooling of a layer, 'rmac' or 'rmac:L', with the whitening inside."""
    import functools

    from mmssl.models.utils.pooling import get_rmac_descriptors
    name = pool_type.get(layer, pool_type.get('others')) if isinstance(pool_type, dict) else pool_type
    scales = int(name.partition(':')[2] or 3)
    return functools.partial(get_rmac_descriptors, rmac_levels=scales, pca=whitening.apply)


def main():
    args = parse_args()
    root, args.data_root = args.data_root, None

    import re
    import time

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.datasets.classes import match_labels
    from mmssl.evaluation import retrieval
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, sections=('data.database', ), name='retrieval')
    splits = [split for split in ('database', 'query') if run.data_cfg.data.get(split) is not None]
    if root:
        for split in splits:
            run.data_cfg.data[split].data_source.data_prefix = root
    if args.num_samples is not None:
        for split in splits:
            run.data_cfg.data[split].data_source.num_samples = args.num_samples
    sources = {split: run.dataset(split).data_source for split in splits}
    truth = getattr(sources[splits[-1]], 'ground_truth', None)
    if len({getattr(source, 'num_samples', None) for source in sources.values()}) > 1:
        raise ConfigError('num_samples of data.database and of data.query differ: --num-samples sets both')
    if truth is None:  # images of one class; without queries of its own, each image of the database is one
        labels = [sources[split].get_gt_labels() for split in splits]
        if len(splits) > 1:  # classes of the queries by their names in the database
            labels[1], report = match_labels(labels[1], sources['query'].CLASSES, labels[0],
                                             sources['database'].CLASSES, 'data.query')
            report.log(run.logger, 'data.query')
        truth = retrieval.labels_to_ground_truth(*reversed(labels))
    white, origin = whitenings(run)
    if args.whiten_regions:
        if origin == 'none':
            raise ConfigError('--whiten-regions needs a whitening: --whitening-data, --whitening or data.whitening')
        not_stages = [layer for layer in args.layers if not re.fullmatch(r'stage\d+', layer)]
        if not_stages:
            raise ConfigError(f'--whiten-regions is for the maps of stages, {not_stages[0]} has no regions')
        args.pool_type = {layer: regions_whitened(args.pool_type, layer, white[layer]) for layer in args.layers}
        white, origin = dict.fromkeys(white), f'{origin}, of regions'
    found, kept = {}, {}
    for split in splits:
        found[split], kept[split] = descriptors(run, split)
    if any(len(kept[split]) < len(sources[split]) for split in splits):
        truth = retrieval.restrict(truth, kept[splits[-1]], kept[splits[0]], len(sources[splits[0]]))
    metrics, rows = {}, []
    for layer in args.layers:
        start = time.time()
        database, queries = (found[split][layer] for split in (splits[0], splits[-1]))
        try:
            if white[layer] is not None:
                database, queries = white[layer].apply(database), white[layer].apply(queries)
            metrics[layer] = retrieval.run(queries, database, truth, args.kappas)
        except ValueError as error:
            raise ConfigError(f'{layer}: {error}') from error
        run.logger.info(f'{layer}: {len(queries)} queries in {len(database)} images ranked in '
                        f'{time.time() - start:.1f} s; {database.shape[1]} dimensions, whitening: {origin}')
        metrics[layer]['whitening'] = origin
        for protocol in truth if isinstance(truth, dict) else ('all', ):
            scores = metrics[layer][protocol]
            if scores['num_skipped']:
                run.logger.info(f'{layer}, {protocol}: {scores["num_skipped"]} queries with nothing to be found are '
                                'left out')
            names = 'mAP', *(f'mP@{k}' for k in args.kappas)
            rows.append((layer, protocol, scores['num_queries'], *(100 * scores[name] for name in names)))
    run.table(rows, ('layer', 'protocol', 'queries', 'mAP', *(f'mP@{k}' for k in args.kappas)))
    run.write(metrics[args.layers[0]] if len(args.layers) == 1 else metrics)


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main, distributed=True)
