"""SVMs against one LinearSVC after another, with the targets and the scoring of the published benchmark."""
import json
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from mmssl.evaluation import svm
from mmssl.evaluation.average_precision import average_precision


@pytest.fixture
def data():
    """Digits, with several targets each: is it odd, is it below 3, has it a hole; some of them open."""
    digits = load_digits()
    x, y = digits.data[:400].astype(np.float32), digits.target[:400]
    targets = np.stack([y % 2, y < 3, np.isin(y, (0, 6, 8, 9))], 1).astype(int)
    targets[np.random.default_rng(0).random(targets.shape) < 0.05] = -1
    return x[:250], x[250:], y[:250], y[250:], targets[:250], targets[250:]


def svc(cost):
    return LinearSVC(
        C=cost, class_weight={
            1: 2,
            -1: 1
        }, intercept_scaling=1.0, dual=True, max_iter=2000, random_state=0)


def unit(x):
    x = x.astype(np.float64)
    return x / (np.linalg.norm(x, axis=1) + 1e-5)[:, None]


@pytest.mark.parametrize('open_labels', ['negative', 'out'])
def test_against_a_plain_loop(data, open_labels):
    x, z, _, _, y, truth = data
    found = svm.run(x, y, torch.from_numpy(z), torch.from_numpy(truth), (0.1, 1), open_labels=open_labels, n_jobs=1)
    json.dumps(found, allow_nan=False)
    for c in range(3):
        rows = y[:, c] >= (0 if open_labels == 'out' else -1)
        labels = np.where(y[rows, c] > 0, 1, -1)
        scores = [cross_val_score(svc(C), unit(x)[rows], labels, cv=3, scoring='average_precision') for C in (0.1, 1)]
        assert found['cross_validated_AP'][c] == pytest.approx(np.mean(scores, 1).tolist(), abs=1e-12)
        cost = (0.1, 1)[int(np.mean(scores, 1).argmax())]
        assert found['cost'][c] == cost
        decision = svc(cost).fit(unit(x)[rows], labels).decision_function(unit(z))
        known = truth[:, c] >= 0
        assert found['AP'][c] == average_precision(truth[known, c], decision[known], method='voc2010')
    assert found['mAP'] == pytest.approx(np.mean(found['AP'])) and 'accuracy' not in found
    assert found['num_fits'] == 3 * 2 * 3 + 3 and found['num_train'] == 250 and found['num_test'] == 150


@pytest.mark.filterwarnings('ignore:.*delayed')
def test_little_work_starts_no_process(monkeypatch):
    """Unless a number of processes is asked for."""
    jobs = []

    def parallel(n_jobs):
        jobs.append(n_jobs)
        return lambda tasks: [function(*args) for function, args, _ in tasks]

    monkeypatch.setattr('sklearn.utils.parallel.Parallel', parallel)
    for n_jobs, numbers in ((-1, 100), (-1, 10**9), (2, 100)):
        assert svm.in_parallel(divmod, [(7, 2), (9, 4)], n_jobs, numbers) == [(3, 1), (2, 1)]
    assert jobs == [1, -1, 2]


@pytest.mark.long
def test_integer_labels_and_processes(data):
    x, z, y, truth, _, _ = data
    y, truth = y + 5, truth + 5  # labels need not begin at 0
    y[:5], truth[:5] = -1, -1  # unlabelled
    truth[5] = 99  # of no class in training: wrong, and negative of all
    found = svm.run(x, y, z, truth, costs=(1, ), ap='full', n_jobs=1)
    assert found['cross_validated_AP'] is None and found['num_fits'] == 10 and found['classes'] == list(range(5, 15))
    scores = np.stack(
        [svc(1).fit(unit(x[5:]), np.where(y[5:] == c, 1, -1)).decision_function(unit(z[5:])) for c in range(5, 15)], 1)
    assert found['AP'] == [average_precision(truth[5:] == c, scores[:, c - 5]) for c in range(5, 15)]
    assert found['accuracy'] == (scores.argmax(1) + 5 == truth[5:]).mean()
    # the arrays are large enough to travel as a mapped file
    large = np.tile(x, 20), y, np.tile(z, 20), truth
    assert svm.run(*large, costs=(1, 0.1), n_jobs=2) == svm.run(*large, costs=(1, 0.1), n_jobs=1)


def test_what_did_not_converge_is_counted(data):
    x, z, _, _, y, truth = data
    with warnings.catch_warnings():
        warnings.simplefilter('error', ConvergenceWarning)
        found = svm.run(x, y, z, truth, costs=(1e6, ), n_jobs=1)
    assert found['unconverged'] == 3


def test_class_without_positives_in_the_test(data):
    x, z, _, _, y, truth = data
    truth[:, 1] = 0
    found = svm.run(x, y, z, truth, costs=(1, ), n_jobs=1)
    assert found['AP'][1] is None and found['without_positives'] == 1
    assert found['mAP'] == pytest.approx((found['AP'][0] + found['AP'][2]) / 2)
    low = svm.run_low_shot(x, y, z, truth, k=(2, ), draws=1, costs=(1, ), n_jobs=1)
    truth[:, 1] = -1
    assert low == svm.run_low_shot(x, y, z, truth, k=(2, ), draws=1, costs=(1, ), n_jobs=1)
    assert low['without_positives'] == 1


@pytest.mark.parametrize('shared', [False, True])
def test_draws(data, shared):
    targets = data[4] if not shared else (data[2][:, None] == np.arange(10)).astype(int)
    classes = targets.shape[1]
    drawn = svm.draw_samples(targets, 4, 0, shared=shared)
    assert ((drawn == 1).sum(0) == 4).all() and ((drawn == 0).sum(0) == 4 * (classes - 1)).all()
    assert (drawn == targets)[drawn >= 0].all()
    if shared:  # the same images for all classes
        assert ((drawn >= 0).all(1) == (drawn >= 0).any(1)).all()
    np.testing.assert_array_equal(drawn, svm.draw_samples(targets, 4, 0, shared=shared))
    for other in (dict(draw=1), dict(draw=0, seed=1)):
        assert (drawn != svm.draw_samples(targets, 4, shared=shared, **other)).any()


def test_low_shot_against_a_plain_loop(data):
    x, z, _, _, y, truth = data
    found = svm.run_low_shot(x, y, z, truth, k=(1, 8), draws=3, costs=(0.1, 10), seed=3, n_jobs=1)
    json.dumps(found, allow_nan=False)
    for k in (1, 8):
        table = np.empty((3, 2))  # draws x costs
        for draw in range(3):
            drawn = svm.draw_samples(y, k, draw, 3)
            for i, cost in enumerate((0.1, 10)):
                aps = []
                for c in range(3):
                    rows, known = drawn[:, c] >= 0, truth[:, c] >= 0
                    labels = np.where(drawn[rows, c] > 0, 1, -1)
                    decision = svc(cost).fit(unit(x)[rows], labels).decision_function(unit(z))
                    aps.append(average_precision(truth[known, c], decision[known], method='voc2010'))
                table[draw, i] = np.mean(aps)
        best = table.mean(0).argmax()
        row = found[f'k{k}']
        assert row['cost'] == (0.1, 10)[best] and len(row['by_cost']) == 2
        for name in ('mean', 'min', 'max', 'std'):
            assert row[name] == pytest.approx(getattr(table[:, best], name)(), abs=1e-12)
    assert found['num_fits'] == 2 * 3 * 2 * 3
    # own samples
    same = svm.run_low_shot(
        x, y, z, truth, (1, 8), 3, (0.1, 10), n_jobs=1, samples=lambda k, draw: svm.draw_samples(y, k, draw, 3))
    assert same == found


def test_bad_input(data):
    x, z, labels, test_labels, y, truth = data
    for arguments, message in [
        ((x[1:], y, z, truth), 'training features have 249 samples, their targets 250'),
        ((x, y, z[:, 1:], truth), '64 dimensions, test features 63'),
        ((x, y * 2, z, truth), 'must be 1, 0 or -1, got np.int64'),
        ((x, y[:, :2], z, truth), '2 classes, test targets of 3'),
        ((x, labels, z, truth), 'for training and test alike, got 1 and 2'),
        ((x * np.nan, y, z, truth), 'training features: 250 of 250 samples hold NaN'),
        ((x, labels * 0, z, test_labels), 'one class only, 0'),
        ((x, labels, z, test_labels + 50), 'no test sample is of a class'),
        ((x, labels - 99, z, test_labels), 'none of the 250 training samples has a label'),
        ((x, np.maximum(y, 0) * (np.arange(250) < 4)[:, None], z, truth), r'fewer than folds=3'),
        ((x, np.abs(y) * 0 + 1, z, truth), 'class 0 has 0 negative training samples'),
        ((x, y, z, truth, (0, )), r'costs must be positive numbers, got \(0.0,\)'),
        ((x, y, z, truth, (1, ), 1), 'folds must be an integer of at least 2, got 1'),
        ((x, y, z, truth, (1, ), 3, 'voc'), "ap must be one of .* got 'voc'"),
        ((x, y, z, truth, (1, ), 3, 'full', 'maybe'), "got 'maybe'"),
    ]:
        with pytest.raises(ValueError, match=message):
            svm.run(*arguments)
    for options, message in [
        (dict(k=(200, )), 'k=200: class 0 has [0-9]+ positive samples, 200 are drawn'),
        (dict(k=(0, )), r'positive integers, got \(0,\)'),
        (dict(samples=lambda k, draw: y[1:]), 'expected 250 x 3 targets'),
        (dict(samples=lambda k, draw: y * 0), 'k=1, draw 0: class 0 needs positive and negative'),
    ]:
        with pytest.raises(ValueError, match=message):
            svm.run_low_shot(x, y, z, truth, **options)
