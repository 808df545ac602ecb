"""Few-label linear evaluation on the digits that scikit-learn carries."""
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mmssl.evaluation import few_label


@pytest.fixture(scope='module')
def digits():
    x, y = load_digits(return_X_y=True)
    held_out = np.arange(len(x)) % 5 == 0
    return x[~held_out], y[~held_out], x[held_out], y[held_out]


def test_raw_pixels_reach_their_known_figure(digits):
    """Raw pixels with 10 labels per class give about 0.90, measured independently of this code."""
    metrics = few_label.run(*digits)
    assert metrics['mean'] == pytest.approx(0.90, abs=0.02)
    assert len(metrics['accuracies']) == 5 and 0 < metrics['std'] < 0.05
    assert metrics['mean'] == np.mean(metrics['accuracies']) and metrics['std'] == np.std(metrics['accuracies'])


def test_equals_scikit_learn_by_hand(digits):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    x, y, x_test, y_test = digits
    scaler = StandardScaler().fit(x)
    rng = np.random.default_rng([7, 0])
    chosen = np.concatenate([rng.choice(np.flatnonzero(y == c), 4, replace=False) for c in range(10)])
    classifier = LogisticRegression(max_iter=1000).fit(scaler.transform(x[chosen]), y[chosen])
    metrics = few_label.run(*digits, labels_per_class=4, draws=1, seed=7)
    assert metrics['mean'] == pytest.approx(classifier.score(scaler.transform(x_test), y_test), abs=1 / 360)


def test_same_draws_whatever_the_features(digits):
    """Scaling a feature changes nothing, and a second run repeats the first: draws depend on the seed alone."""
    x, y, x_test, y_test = digits
    first = few_label.run(x, y, x_test, y_test, draws=2)
    again = few_label.run(torch.as_tensor(x * 8.), y, torch.as_tensor(x_test * 8.), y_test, draws=2)
    assert again['accuracies'] == pytest.approx(first['accuracies'], abs=1 / 360)
    assert few_label.run(x, y, x_test, y_test, draws=2, seed=1)['accuracies'] != first['accuracies']


def test_unlabelled_samples_are_never_drawn(digits):
    x, y, x_test, y_test = digits
    partly = y.copy()
    partly[np.arange(len(y)) % 2 == 0] = -1
    metrics = few_label.run(x, partly, x_test, y_test, draws=2)
    assert metrics['mean'] == pytest.approx(0.90, abs=0.03)
    partly[y == 3] = -1
    partly[np.flatnonzero(y == 3)[:9]] = 3
    with pytest.raises(ValueError, match='class 3 has 9 labelled samples, fewer than labels_per_class=10'):
        few_label.run(x, partly, x_test, y_test)
    with pytest.raises(
            ValueError, match='class [0-9] has 1[0-9][0-9] labelled samples, fewer than labels_per_class=150'):
        few_label.run(x, y, x_test, y_test, labels_per_class=150)


def test_errors(digits):
    x, y, x_test, y_test = digits
    with pytest.raises(ValueError, match='one class only, 4'):
        few_label.run(x[y == 4], y[y == 4], x_test, y_test)
    with pytest.raises(ValueError, match='training features have 64 dimensions, test features 63'):
        few_label.run(x, y, x_test[:, 1:], y_test)
    with pytest.raises(ValueError, match='labels_per_class and draws'):
        few_label.run(*digits, draws=0)
