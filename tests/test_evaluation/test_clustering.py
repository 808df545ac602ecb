"""Agreement of clusters and classes: against all permutations and by hand."""
import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmssl.evaluation import clustering


def test_matching_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    best = max(np.mean(np.array(p)[clusters] == labels) for p in itertools.permutations(range(5)))
    found = clustering.agreement(clusters, labels)
    assert found['accuracy'] == pytest.approx(best, abs=1e-12)
    majority = sum(np.bincount(labels[clusters == c]).max() for c in range(5)) / 200
    assert found['purity'] == pytest.approx(majority, abs=1e-12)
    assert abs(found['ari']) < 0.05 and found['nmi'] < 0.1


def test_formulas_by_hand():
    """Classes 0 0 0 1 1 1, clusters 0 0 1 1 1 1: I / ((H + H') / 2), and (index - expected) / (maximum - expected)."""
    labels, clusters = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1])
    h, g = np.log(2), -(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)
    mutual = 1 / 3 * np.log(2) + 1 / 6 * np.log(1 / 2) + 1 / 2 * np.log(3 / 2)
    found = clustering.agreement(clusters, labels)
    assert found['nmi'] == pytest.approx(mutual / ((h + g) / 2), abs=1e-12)
    expected = 6 * 7 / 15  # pairs together in classes times in clusters, over all pairs
    assert found['ari'] == pytest.approx((4 - expected) / ((6 + 7) / 2 - expected), abs=1e-12)
    assert found['accuracy'] == found['purity'] == pytest.approx(5 / 6)


def test_digits():
    x, y = load_digits(return_X_y=True)
    found = clustering.run(x, y, restarts=3)
    assert 0.6 < found['accuracy'] <= found['purity'] < 0.9 and 0.6 < found['nmi'] < 0.9
    assert found == clustering.run(x, y, restarts=3)
    y[:100] = -1
    y[y == 3] = 33
    more = clustering.run(x, y, num_clusters=30, restarts=2)
    assert more['num_samples'] == len(y) - 100 and more['num_classes'] == 10 and more['num_clusters'] == 30
    assert more['purity'] > found['purity'] and more['accuracy'] < found['accuracy']


@pytest.mark.parametrize('labels, options, words', [
    (np.zeros(50, int), {}, 'one class only, 0'),
    (np.arange(49), {}, '50 samples, their labels the shape .49'),
    (np.arange(50) % 2, dict(num_clusters=51), '50 samples cannot make k=51'),
    (np.arange(50) % 2, dict(restarts=0), 'at least 1, got 0'),
])
def test_bad_input(labels, options, words):
    with pytest.raises(ValueError, match=words):
        clustering.run(np.random.default_rng(0).normal(size=(50, 4)), labels, **options)
