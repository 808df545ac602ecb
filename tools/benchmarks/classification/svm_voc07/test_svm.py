# Copyright (c) mmssl contributors. All rights reserved.
"""Linear SVMs on the frozen features of a backbone: Pascal VOC 2007, or any images with class labels.

The stages are pooled to about 9,000 numbers by the fixed windows for images of 224 px, as published; for other sizes
take --pool-type adaptive or average. Costs in publications: 1 10 100 (MMSelfSup, and the default here) and 0.01 0.1
(VISSL).
"""
import argparse

COSTS = [1.0, 10.0, 100.0]
SHOTS = [1, 2, 4, 8, 16, 32, 64, 96]


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_evaluation_options(parser, 'configs/benchmarks/classification/svm_voc07.py', layers=('stage4', ))
    parser.set_defaults(pool_type='specified')
    parser.add_argument('--costs', type=float, nargs='+', default=COSTS, help='weights of the loss (default: 1 10 100)')
    parser.add_argument(
        '--folds', type=int, default=3, help='of the cross-validation that chooses a cost for each class (default: 3)')
    parser.add_argument(
        '--ap',
        choices=['voc2010', 'full', '11point'],
        default='voc2010',
        help='average precision of the test: precision made monotone (voc2010, as published), as it is (full, that of '
        'scikit-learn) or at 11 levels of recall (11point, that of VOC 2007) (default: voc2010)')
    parser.add_argument(
        '--open-labels',
        choices=['negative', 'out'],
        default='negative',
        help='images of a class whose objects are difficult to see: negative in training, as published, or left out')
    parser.add_argument(
        '--low-shot',
        metavar='K',
        type=int,
        nargs='*',
        help=f'also with K positives of each class (without numbers: {" ".join(map(str, SHOTS))})')
    parser.add_argument(
        '--no-full', action='store_true', help='with --low-shot: no SVMs on all images, which large sets make slow')
    parser.add_argument('--draws', type=int, default=5, help='draws of the positives (default: 5)')
    parser.add_argument('--seed', type=int, default=0, help='of the draws (default: 0)')
    parser.add_argument(
        '--samples',
        metavar='FOLDER',
        help='draws from FOLDER/train_targets_sample1_k1.npy, ..., which '
        'tools/data_converters/create_voc_low_shot_challenge_samples.py writes')
    parser.add_argument(
        '--n-jobs', type=int, default=-1, help='processes that train SVMs, -1 for one a core (default: -1)')
    return parser.parse_args()


def targets_of(dataset, features):
    """N x C targets of a data source that has them, else the labels."""
    targets = getattr(getattr(dataset, 'data_source', None), 'targets', None)
    return features.labels if targets is None else targets[features.index]


def read_samples(folder):
    """A function (k, draw) -> targets, from files whose draws count from 1."""
    from pathlib import Path

    import numpy as np

    def read(k, draw):
        path = Path(folder) / f'train_targets_sample{draw + 1}_k{k}.npy'
        if not path.is_file():
            raise FileNotFoundError(f'--samples {folder}: there is no file {path.name}')
        return np.load(path)

    return read


def on_first_process(function):
    """What `function` returns on the first process, on all of them; what the user can mend becomes a ConfigError."""
    from mmssl.utils import dist
    from mmssl.utils.errors import ConfigError
    result = error = None
    if dist.get_rank() == 0:
        try:
            result = function()
        except (ValueError, FileNotFoundError) as e:
            error = str(e)
    result, error = dist.broadcast_object((result, error), patient=True)
    if error:
        raise ConfigError(error)
    return result


def main():
    args = parse_args()
    if args.no_full and args.low_shot is None:
        raise SystemExit('--no-full leaves nothing to do without --low-shot')

    import time

    import numpy as np

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.evaluation import svm
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, name='svm')
    features = {split: run.extract(split) for split in ('train', 'val')}
    targets = {split: targets_of(run.dataset(split), found) for split, found in features.items()}
    if targets['val'].ndim == 2 and list(run.dataset('train').CLASSES) != list(run.dataset('val').CLASSES):
        raise ConfigError(
            f'data.train has the classes {list(run.dataset("train").CLASSES)}, data.val '
            f'{list(run.dataset("val").CLASSES)}: with several classes an image both need the same, in one '
            'order')
    shots = SHOTS if args.low_shot == [] else args.low_shot or []
    if shots and not args.samples:  # before the long part of the work
        train = targets['train']
        positives = (train == 1).sum(0) if train.ndim == 2 else np.unique(train[train >= 0], return_counts=True)[1]
        fits = [k for k in shots if k <= positives.min()]
        if len(fits) < len(shots):
            words = f'the smallest class of data.train has {positives.min()} positive images'
            if args.low_shot or not fits:
                raise ConfigError(f'--low-shot {max(shots)}: {words}; give numbers up to that')
            run.logger.warning(f'--low-shot: {words}; left out: {", ".join(map(str, shots[len(fits):]))}')
            shots = fits
    metrics, rows = {}, []
    for layer in args.layers:
        arrays = [
            array for split, found in features.items()
            for array in (found[layer].reshape(len(found), -1), targets[split])
        ]
        found = metrics[layer] = {}
        if not args.no_full:
            start = time.time()
            found = metrics[layer] = on_first_process(
                lambda: svm.run(*arrays, args.costs, args.folds, args.ap, args.open_labels, n_jobs=args.n_jobs))
            run.logger.info(
                f'{layer}: {found["num_fits"]} SVMs in {time.time() - start:.1f} s, {found["unconverged"]} of '
                f'them at the limit of iterations, mAP {100 * found["mAP"]:.2f} %')
            if found['without_positives']:
                run.logger.warning(f'{found["without_positives"]} classes have no test image and are not in the mean')
        if shots:
            start = time.time()
            low = found['low_shot'] = on_first_process(lambda: svm.run_low_shot(
                *arrays,
                shots,
                args.draws,
                args.costs,
                args.ap,
                args.seed,
                samples=args.samples and read_samples(args.samples),
                n_jobs=args.n_jobs))
            run.logger.info(f'{layer}: {low["num_fits"]} low-shot SVMs in {time.time() - start:.1f} s, '
                            f'{low["unconverged"]} of them at the limit of iterations')
            run.table([(k, *(100 * low[f'k{k}'][name]
                             for name in ('mean', 'min', 'max', 'std')), f'{low[f"k{k}"]["cost"]:g}')
                       for k in shots], ('k', 'mean', 'min', 'max', 'std', 'best cost'))
        rows.append((layer, arrays[0].shape[1], *(100 * found[name] for name in ('mAP', 'accuracy') if name in found),
                     *(100 * found['low_shot'][f'k{k}']['mean'] for k in shots)))
    run.table(
        rows,
        ['layer', 'numbers', *(name for name in ('mAP', 'accuracy') if name in found), *(f'k={k}' for k in shots)])
    mean = {layer: row['low_shot'][f'k{shots[-1]}']['mean'] if args.no_full else row['mAP']
            for layer, row in metrics.items()}  # yapf: disable
    best = max(mean, key=mean.get)
    run.logger.info(f'best layer: {best}, {f"k={shots[-1]}, " if args.no_full else ""}mAP {100 * mean[best]:.2f} %')
    run.write(dict(best_layer=best, layers=metrics))


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main, distributed=True)
