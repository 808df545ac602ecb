# Copyright (c) mmssl contributors. All rights reserved.
"""Time of the linear SVMs of mmssl.evaluation.svm against scikit-learn's LinearSVC, one fit after another.

Both see the same features, costs and folds; images need class labels. Without a checkpoint, `--layers pixels` takes
raw pixels.
"""
import argparse


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_evaluation_options(parser, 'configs/benchmarks/classification/digits.py')
    parser.add_argument('--costs', type=float, nargs='+', default=[1.0, 10.0, 100.0], help='(default: 1 10 100)')
    parser.add_argument('--folds', type=int, default=3, help='of the cross-validation (default: 3)')
    parser.add_argument('--n-jobs', type=int, default=-1, help='of ours; -1: one a core (default: -1)')
    return parser.parse_args()


def one_after_another(x, labels, z, truth, costs, folds):
    """Mean average precision (scikit-learn's) of a LinearSVC a class, whose cost cross-validation chooses."""
    import numpy as np
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import cross_val_score
    from sklearn.preprocessing import normalize
    from sklearn.svm import LinearSVC

    def classifier(cost):
        return LinearSVC(C=cost, class_weight={True: 2, False: 1}, dual=True, max_iter=2000)

    x, z, aps = normalize(x), normalize(z), []
    for label in np.unique(labels):
        positive = labels == label
        scores = [
            cross_val_score(classifier(cost), x, positive, cv=folds, scoring='average_precision').mean()
            for cost in costs
        ]
        best = classifier(costs[int(np.argmax(scores))]).fit(x, positive)
        aps.append(average_precision_score(truth == label, best.decision_function(z)))
    return float(np.mean(aps))


def main():
    args = parse_args()

    import time
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.evaluation import svm

    run = EvaluationRun(args, name='benchmark_svm')
    train, val = run.extract('train'), run.extract('val')
    metrics, rows = {}, []
    for layer in args.layers:
        arrays = [
            np.asarray(array) for part in (train, val) for array in (part[layer].reshape(len(part), -1), part.labels)
        ]
        start = time.perf_counter()
        ours = svm.run(*arrays, args.costs, args.folds, 'full', n_jobs=args.n_jobs)['mAP']
        middle = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            theirs = one_after_another(*arrays, args.costs, args.folds)
        seconds = dict(ours=middle - start, one_after_another=time.perf_counter() - middle)
        ratio = seconds['one_after_another'] / seconds['ours']
        metrics[layer] = dict(seconds=seconds, ratio=ratio, mAP=dict(ours=ours, one_after_another=theirs))
        rows += [(layer, 'LinearSVC, one after another', seconds['one_after_another'], 100 * theirs, 1.0),
                 (layer, 'mmssl.evaluation.svm', seconds['ours'], 100 * ours, ratio)]
    run.table(rows, ('layer', 'by', 'seconds', 'mAP', 'times as fast'))
    run.write(dict(layers=metrics, num_train=len(train), num_test=len(val), costs=args.costs, folds=args.folds))


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main, distributed=True)
