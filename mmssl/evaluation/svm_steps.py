# Copyright (c) mmssl contributors. All rights reserved.
"""The benchmark of svm.py in separate steps with files between them, as MMSelfSup 0.x has it.

A trained SVM is cls{class}_cost{cost}.npz, for low-shot cls{class}_cost{cost}_sample{draw}_k{k}.npz, with the arrays
coef (D) and intercept, and in the first case ap, the cross-validated average precision. Each step does what is not
done yet, so that it can be stopped and started again. The figures are those of svm.run and svm.run_low_shot.
"""
from pathlib import Path

import numpy as np

from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write
from .average_precision import average_precision, mean_average_precision
from .svm import _fit, _folds, _multi_label, _normalized, in_parallel, train_svm


def read_arrays(data_file, targets_file):
    """Normalised features and targets from two .npy files.

    Args:
        data_file (str | Path): N x D features, or N x C x H x W maps.
        targets_file (str | Path): N x C targets of 1, 0 and -1.

    Returns:
        tuple[ndarray, ndarray]: N x D float64 and N x C int8.

    Raises:
        FileNotFoundError: A file is absent.
        ConfigError: A file holds something else, or the two do not fit together.
    """
    arrays = []
    for path in (data_file, targets_file):
        if not Path(path).is_file():
            raise FileNotFoundError(f'there is no file {path}')
        try:
            arrays.append(np.load(path))
        except ValueError as error:
            raise ConfigError(f'{path} is no array of numbers (.npy): {error}') from error
    features, targets = arrays
    if targets.ndim != 2:
        raise ConfigError(f'{targets_file}: targets must be N x C, got shape {targets.shape}')
    try:
        features, targets = _multi_label(features.reshape(len(features), -1), targets, str(data_file))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return _normalized(features), targets


def train(features, targets, folder, costs, classes=None, folds=3, n_jobs=-1):
    """Train an SVM for each class and cost, and cross-validate it.

    Args:
        features (ndarray): N x D, normalised.
        targets (ndarray): N x C.
        folder (str | Path): Where the SVMs go.
        costs (Sequence[float]): Weights of the loss.
        classes (Sequence[int], optional): Columns of the targets; by default all.
        folds (int): Parts of the cross-validation.
        n_jobs (int): Processes, -1 for one a core.

    Returns:
        int: Number of SVMs that were trained; those that were there already are not counted.
    """
    tasks = []
    for c in _classes(targets, classes):
        positive = targets[:, c] > 0
        if min(positive.sum(), (~positive).sum()) < folds:
            raise ConfigError(f'class {c} has {positive.sum()} positive and {(~positive).sum()} negative training '
                              f'samples, at least {folds} of each are needed')
        tasks += [(features, positive, cost, folds, _file(folder, c, cost)) for cost in costs]
    return _run(_train_one, tasks, n_jobs)


def _train_one(features, positive, cost, folds, path):
    parts = _folds(positive, np.arange(len(features)), folds)
    aps = [
        average_precision(positive[held_out],
                          _fit(features, rows, held_out, positive, cost)[0]) for rows, held_out in parts
    ]
    _save(path, train_svm(features, positive, cost), ap=np.mean(aps))


def score(features, targets, folder, costs, classes=None, ap='voc2010'):
    """Score the SVMs of `train`, each class with the cost of the best cross-validated average precision.

    Args:
        features, targets: Of the test images.
        folder, costs, classes: As in `train`.
        ap (str): Definition of average precision, see average_precision.METHODS.

    Returns:
        tuple[float, ndarray]: Mean average precision and that of each class; written to test_ap.npy too.
    """
    classes = _classes(targets, classes)
    scores = []
    for c in classes:
        found = [_load(folder, c, cost) for cost in costs]
        best = found[int(np.argmax([one['ap'] for one in found]))]
        scores.append(_decide(features, best))
    mean, each = mean_average_precision(targets[:, classes], np.stack(scores, 1), ap)
    _save_array(Path(folder) / 'test_ap.npy', each)
    return mean, each


def train_low_shot(features, targets, folder, costs, sample, n_jobs=-1):
    """Train an SVM for each class and cost on the samples of one draw.

    Args:
        features (ndarray): N x D, normalised.
        targets (ndarray): N x C of 1 and 0 for samples that are drawn, -1 for others.
        folder, costs, n_jobs: As in `train`.
        sample (str): Name of the draw in file names, such as 'sample1_k4'.

    Returns:
        int: Number of SVMs that were trained.
    """
    tasks = []
    for c, column in enumerate(targets.T):
        rows = np.flatnonzero(column >= 0)
        if len(np.unique(column[rows] > 0)) < 2:
            raise ConfigError(f'{sample}: class {c} needs positive and negative samples')
        tasks += [(features[rows], column[rows] > 0, cost, _file(folder, c, cost, sample)) for cost in costs]
    return _run(_train_low_shot_one, tasks, n_jobs)


def _train_low_shot_one(features, positive, cost, path):
    _save(path, train_svm(features, positive, cost))


def score_low_shot(features, targets, folder, costs, ks, draws, ap='voc2010'):
    """Score the SVMs of `train_low_shot`.

    Args:
        features, targets: Of the test images.
        folder, costs: As in `train`.
        ks (Sequence[int]): Numbers of positives.
        draws (Sequence[int]): Numbers of the draws, from 1.
        ap (str): As in `score`.

    Returns:
        ndarray: draws x ks x costs, mean average precisions; row by row in test_ap_sample{draw}_k{k}.npy too.
    """
    result = np.empty((len(draws), len(ks), len(costs)))
    for i, draw in enumerate(draws):
        for j, k in enumerate(ks):
            sample = f'sample{draw}_k{k}'
            for m, cost in enumerate(costs):
                scores = [_decide(features, _load(folder, c, cost, sample)) for c in range(targets.shape[1])]
                result[i, j, m] = mean_average_precision(targets, np.stack(scores, 1), ap)[0]
            _save_array(Path(folder) / f'test_ap_{sample}.npy', result[i, j][None])
    return result


def aggregate(folder, ks, draws):
    """Mean, maximum, minimum and standard deviation over the draws of what `score_low_shot` has written.

    Args:
        folder (str | Path): Where it was written.
        ks, draws: As in `score_low_shot`.

    Returns:
        dict[int, dict]: By k 'mean', 'max', 'min' and 'std' (population) of the cost with the best mean. Those of all
        costs are in test_ap_mean.npy, ..., ks x costs.
    """
    table = []
    for k in ks:
        paths = [Path(folder) / f'test_ap_sample{draw}_k{k}.npy' for draw in draws]
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f'there is no file {path}; test_svm_low_shot.py writes it')
        table.append(np.concatenate([np.load(path) for path in paths]))
    table = np.stack(table)  # ks x draws x costs
    statistics = dict(mean=table.mean(1), max=table.max(1), min=table.min(1), std=table.std(1))
    for name, values in statistics.items():
        _save_array(Path(folder) / f'test_ap_{name}.npy', values)
    best = statistics['mean'].argmax(1)
    return {k: {name: float(values[i, best[i]]) for name, values in statistics.items()} for i, k in enumerate(ks)}


def _classes(targets, classes):
    classes = range(targets.shape[1]) if classes is None else classes
    for c in classes:
        if not 0 <= c < targets.shape[1]:
            raise ConfigError(f'there is no class {c}: the targets are of {targets.shape[1]} classes, from 0')
    return list(classes)


def _run(function, tasks, n_jobs):
    tasks = [task for task in tasks if not task[-1].exists()]
    in_parallel(function, tasks, n_jobs, sum(features.size for features, *_ in tasks))
    return len(tasks)


def _file(folder, c, cost, sample=None):
    return Path(folder) / (f'cls{c}_cost{cost:g}' + (f'_{sample}' if sample else '') + '.npz')


def _save(path, svm, **more):
    with atomic_write(path, 'wb') as file:
        np.savez(file, coef=svm.coef_[0], intercept=svm.intercept_[0], **more)


def _save_array(path, array):
    with atomic_write(path, 'wb') as file:
        np.save(file, array)


def _load(folder, c, cost, sample=None):
    path = _file(folder, c, cost, sample)
    if not path.is_file():
        raise FileNotFoundError(f'there is no {path}: the SVM of class {c} with cost {cost:g} is not trained yet')
    return np.load(path)


def _decide(features, svm):
    return features @ svm['coef'] + svm['intercept']
