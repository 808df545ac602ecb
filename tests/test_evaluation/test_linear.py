"""Many linear classifiers at once against torch's, one after another, and against scikit-learn's optimum."""
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from mmssl.evaluation import linear


@pytest.fixture(scope='module')
def digits():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    test = np.arange(len(x)) % 5 == 0
    return x[~test], y[~test], x[test], y[test]


def one_by_one(views, labels, lr, decay, epochs, batch_size, seed):
    layer = torch.nn.Linear(views.shape[2], int(labels.max()) + 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    groups = [dict(params=[layer.weight], weight_decay=decay), dict(params=[layer.bias], weight_decay=0)]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
    steps = epochs * math.ceil(len(labels) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        order = torch.from_numpy(np.random.default_rng([seed, 1, epoch]).permutation(len(labels)))
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(views[epoch % len(views)][rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return layer.weight.detach().T, layer.bias.detach()


def test_side_by_side_equals_one_after_another(digits):
    x, y = torch.from_numpy(digits[0][:300]), torch.from_numpy(digits[1][:300])
    views = torch.stack([x, x.roll(1, 1)])
    grid = [(0.01, 0.), (0.5, 1e-3), (2., 0.)]
    weight, bias = linear.train_classifiers(views, y, grid, 10, epochs=4, batch_size=64, seed=3)
    for i, (lr, decay) in enumerate(grid):
        expected = one_by_one(views, y, lr, decay, 4, 64, 3)
        torch.testing.assert_close(weight[i], expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(bias[i], expected[1], rtol=1e-4, atol=1e-5)


def test_the_optimum_is_that_of_scikit_learn(digits):
    """Decay as the L2 penalty of scikit-learn: mean loss + decay / 2 |w|^2."""
    x, y, x_test, y_test = digits
    decay = 1e-3
    found = linear.run(*digits, lrs=(0.5, ), weight_decays=(decay, ), epochs=60, val_fraction=0, standardize=False)
    reference = LogisticRegression(C=1 / (decay * len(x)), max_iter=2000, tol=1e-8).fit(x, y).score(x_test, y_test)
    assert found['top1'] == pytest.approx(reference, abs=0.006)
    assert found['top1'] > 0.93 and found['top5'] > 0.99 and found['num_test'] == len(y_test)


def test_a_rate_that_diverges_disturbs_no_other(digits):
    x, y, x_test, y_test = digits
    options = dict(epochs=3, weight_decays=(0.5, ))
    alone = linear.run(*digits, lrs=(0.1, ), **options)
    both = linear.run(*digits, lrs=(0.1, 1e18), **options)
    assert both['sweep'][0] == pytest.approx(alone['sweep'][0], abs=0.004)
    assert both['sweep'][1]['diverged'] and both['sweep'][1]['top1'] is None and both['lr'] == 0.1
    with pytest.raises(FloatingPointError, match='all learning rates diverged.*1e'):
        linear.run(*digits, lrs=(1e18, ), **options)


def test_choice_on_held_out_training_samples(digits):
    """Labels of the test set change nothing but the score."""
    x, y, x_test, y_test = digits
    found = linear.run(*digits, lrs=(1e-4, 0.1), epochs=10)
    assert found['lr'] == 0.1 and found['top1'] == found['sweep'][1]['top1'] > 0.9
    wrong = linear.run(x, y, x_test, (y_test + 1) % 10, lrs=(1e-4, 0.1), epochs=10)
    assert wrong['lr'] == 0.1 and wrong['top1'] < 0.1
    assert [row['val_top1'] for row in wrong['sweep']] == [row['val_top1'] for row in found['sweep']]


def test_gaps_unlabelled_samples_and_unknown_classes(digits):
    x, y, x_test, y_test = digits
    found = linear.run(*digits, lrs=(0.1, ), epochs=5, val_fraction=0)
    more = linear.run(
        np.concatenate([x, x[:50]]),
        np.concatenate([y * 10, np.full(50, -1)]),
        np.concatenate([x_test, x_test]),
        np.concatenate([y_test * 10, np.full(len(y_test), 7)]),
        lrs=(0.1, ),
        epochs=5,
        val_fraction=0)
    assert more['num_train'] == len(x) and more['num_test'] == 2 * len(y_test)
    assert more['top1'] == pytest.approx(found['top1'] / 2, abs=0.003)


@pytest.mark.parametrize('change, words', [
    (dict(lrs=(0., )), 'must be positive.*0.0'),
    (dict(epochs=0), 'at least 1, got 0'),
    (dict(val_fraction=0), 'val_fraction.* got 0 for 9 settings'),
    (dict(train_labels=np.zeros(100, int)), 'one class only, 0'),
    (dict(train_labels=np.zeros(99, int)), '100 samples, their labels the shape .99'),
    (dict(test_features=np.ones((5, 3), np.float32)), '64 dimensions, test features 3'),
    (dict(test_features=np.full((5, 64), np.nan)), 'NaN'),
])
def test_bad_input(digits, change, words):
    arguments = dict(
        train_features=digits[0][:100],
        train_labels=digits[1][:100],
        test_features=digits[2][:5],
        test_labels=digits[3][:5])
    with pytest.raises(ValueError, match=words):
        linear.run(**{**arguments, **change})
