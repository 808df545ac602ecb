"""Weighted kNN against a naive float64 loop and against scikit-learn."""
import numpy as np
import pytest
import torch

from mmssl.evaluation import knn


def make_features(n, m, d=16, classes=(0, 1, 2, 3, 4, 5, 6, 7), seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(classes), d))
    train_labels, test_labels = rng.choice(len(classes), n), rng.choice(len(classes), m)
    noise = rng.normal(size=(n + m, d)) * 1.5
    names = np.asarray(classes)
    return ((centres[train_labels] + noise[:n]).astype(np.float32), names[train_labels],
            (centres[test_labels] + noise[n:]).astype(np.float32), names[test_labels])


def naive(train, train_labels, test, test_labels, k, temperature):
    """One query at a time, in float64, with Python dicts."""
    bank = [(x / np.linalg.norm(x), label) for x, label in zip(train.astype(np.float64), train_labels) if label >= 0]
    hits, total = [0, 0], 0
    for x, label in zip(test.astype(np.float64), test_labels):
        if label < 0:
            continue
        x = x / np.linalg.norm(x)
        neighbours = sorted(((float(x @ key), other) for key, other in bank), reverse=True)[:k]
        votes = {}
        for similarity, other in neighbours:
            votes[other] = votes.get(other, 0) + np.exp(similarity / temperature)
        ranked = sorted(votes, key=lambda other: (-votes[other], other))
        hits[0] += label in ranked[:1]
        hits[1] += label in ranked[:5]
        total += 1
    return hits[0] / total, hits[1] / total


@pytest.mark.parametrize('memory_limit', [512, 0.01])
def test_against_naive_loop(memory_limit):
    """Exact for every k and temperature, in one tile and in many."""
    data = make_features(301, 97)
    metrics = knn.run(*data, k=(1, 10, 57, 301), temperature=(0.07, 1.), memory_limit=memory_limit)
    for k in (1, 10, 57, 301):
        for t in (0.07, 1.):
            found = metrics[f'k{k}_T{t:g}_top1'], metrics[f'k{k}_T{t:g}_top5']
            assert found == pytest.approx(naive(*data, k, t), abs=1e-12), (k, t)
    assert 0.3 < metrics['k10_T0.07_top1'] < 0.95  # the problem is neither trivial nor hopeless
    assert [metrics[n] for n in ('num_train', 'num_test', 'num_classes')] == [301, 97, 8]


def test_against_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier
    train, train_labels, test, test_labels = make_features(400, 150, seed=1)
    for k, t in ((5, 0.07), (20, 0.2)):
        reference = KNeighborsClassifier(
            k, metric='cosine', algorithm='brute', weights=lambda distance: np.exp((1 - distance) / t))
        expected = reference.fit(train.astype(np.float64), train_labels).score(test.astype(np.float64), test_labels)
        metrics = knn.run(train, train_labels, test, test_labels, k=k, temperature=t)
        assert metrics[f'k{k}_T{t:g}_top1'] == pytest.approx(expected, abs=1e-12)


def test_neighbours_of_many_tiles_equal_those_of_one():
    """The N x M similarities are never held at once (a kNN that keeps them all is a known complaint)."""
    train, _, test, _ = map(torch.as_tensor, make_features(1000, 40))
    one = knn.nearest_neighbours(train, test, 30)
    many = knn.nearest_neighbours(train, test, 30, memory_limit=0.02)
    torch.testing.assert_close(many[0], one[0])
    assert torch.equal(many[1], one[1])


@pytest.mark.parametrize('n', [1, 3, 50, 99])
def test_fewer_samples_than_k(n):
    """Chunks of a hundredth of the bank crash below 100 images elsewhere; here k is clipped and said so."""
    data = make_features(n, 20)
    with pytest.warns(UserWarning, match=f'k 200 is more than the {n} labelled'):
        metrics = knn.run(*data, k=(1, 200))
    assert (metrics['k200_T0.07_top1'], metrics['k200_T0.07_top5']) == pytest.approx(naive(*data, 200, 0.07))


def test_absent_and_sparse_classes():
    """Labels need not be contiguous; a class without a training sample is never right, and sizes nothing."""
    train, train_labels, test, test_labels = make_features(120, 60, classes=(3, 70000, 7, 11, 1000, 999))
    test_labels[:10] = 123456789
    test_labels[10:20] = 0
    metrics = knn.run(train, train_labels, test, test_labels, k=10)
    expected = naive(train, train_labels, test, test_labels, 10, 0.07)
    assert (metrics['k10_T0.07_top1'], metrics['k10_T0.07_top5']) == pytest.approx(expected)
    assert metrics['num_classes'] == 6 and expected[0] <= 40 / 60


def test_unlabelled_samples_are_left_out():
    """Partly labelled sets break kNN elsewhere."""
    train, train_labels, test, test_labels = make_features(100, 50)
    train_labels[::3], test_labels[::4] = -1, -1
    metrics = knn.run(train, train_labels, test, test_labels, k=5)
    kept = knn.run(
        train[train_labels >= 0],
        train_labels[train_labels >= 0],
        test[test_labels >= 0],
        test_labels[test_labels >= 0],
        k=5)
    assert metrics == kept
    assert metrics['num_train'] == 66 and metrics['num_test'] == 37
    with pytest.raises(ValueError, match='none of the 50 test samples has a label'):
        knn.run(train, train_labels, test, np.full(50, -1), k=5)


def test_low_temperature_does_not_overflow():
    data = make_features(100, 50)
    metrics = knn.run(*data, k=10, temperature=0.001)
    assert metrics['k10_T0.001_top1'] == knn.run(*data, k=1)['k1_T0.07_top1']  # the nearest alone decides


def test_half_precision_and_scale():
    """Cosine does not see the length of a feature; half precision is stored, not computed in."""
    train, train_labels, test, test_labels = make_features(200, 100)
    scaled = train * np.linspace(0.1, 5, len(train), dtype=np.float32)[:, None]
    assert knn.run(
        scaled, train_labels, test, test_labels, k=10) == knn.run(
            train, train_labels, test, test_labels, k=10)
    half = torch.as_tensor(train).half(), train_labels, torch.as_tensor(test).half(), test_labels
    single = half[0].float(), train_labels, half[2].float(), test_labels
    assert knn.run(*half, k=10) == knn.run(*single, k=10)


@pytest.mark.parametrize('change, message', [
    (dict(train_labels=np.zeros(7, int)), r'training features have 30 samples, their labels the shape \(7,\)'),
    (dict(test_labels=np.zeros(9)), 'must be integers'),
    (dict(test_features=np.zeros((0, 16))), 'test features are empty'),
    (dict(test_features=np.zeros((9, 4))), 'training features have 16 dimensions, test features 4'),
    (dict(test_features=np.zeros((9, 4, 4))), 'must be N x D'),
    (dict(k=0), 'k must be positive integers, got 0'),
    (dict(k=()), 'k must be'),
    (dict(temperature=0.), 'temperature must be positive'),
    (dict(memory_limit=0), 'memory_limit'),
])
def test_errors(change, message):
    names = ('train_features', 'train_labels', 'test_features', 'test_labels')
    with pytest.raises(ValueError, match=message):
        knn.run(**{**dict(zip(names, make_features(30, 9))), **change})


def test_nan_names_the_sample():
    train, train_labels, test, test_labels = make_features(30, 9)
    train[12, 3] = np.nan
    with pytest.raises(ValueError, match='training features: 1 of 30 samples hold NaN or infinity.*sample 12'):
        knn.run(train, train_labels, test, test_labels)


def test_predictions():
    """Labels as given, rows of the whole training set although part of it has no label; accuracy as `run` says."""
    train, train_labels, test, test_labels = make_features(150, 60, classes=(3, 70000, 7))
    train_labels[::4], test_labels[5] = -1, -1
    predictions, neighbours = knn.classify(train, train_labels, test, test_labels, k=9, temperature=0.1)
    assert predictions.shape == (60, ) and predictions.dtype == neighbours.dtype == np.int64
    assert (train_labels[neighbours] >= 0).all()
    known = test_labels >= 0
    expected = knn.run(train, train_labels, test, test_labels, k=9, temperature=0.1)['k9_T0.1_top1']
    assert (predictions == test_labels)[known].mean() == expected
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (test, train[train_labels >= 0])]
    nearest = np.flatnonzero(train_labels >= 0)[np.argsort(-(unit[0] @ unit[1].T), 1)[:, :9]]
    np.testing.assert_array_equal(neighbours, nearest)
    np.testing.assert_array_equal(knn.classify(train, train_labels, test, None, 9, 0.1)[0], predictions)


def test_knn_classifier_by_its_known_name():
    """1000 classes are no longer assumed: num_classes neither limits nor is needed."""
    train, train_labels, test, test_labels = map(torch.as_tensor, make_features(80, 40, classes=(1, 2000, 5)))
    top1, top5 = knn.knn_classifier(train, train_labels, test, test_labels, 10, 0.07)
    expected = naive(*(x.numpy() for x in (train, train_labels, test, test_labels)), 10, 0.07)
    assert (top1, top5) == pytest.approx((100 * expected[0], 100 * expected[1]))
    assert knn.knn_classifier(train, train_labels, test, test_labels, 10, 0.07, num_classes=3) == (top1, top5)
