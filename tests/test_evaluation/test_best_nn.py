"""Majority votes of the nearest against scikit-learn, the choice of k against classifying one by one."""
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from mmssl.evaluation import best_nn


@pytest.fixture(scope='module')
def arrays():
    x, y = load_digits(return_X_y=True)
    noise = np.random.default_rng(0).normal(scale=5, size=x.shape)
    x = x + noise + 0.5  # no distance twice
    return x[:400].astype(np.float32), y[:400] * 3, x[400:700].astype(np.float32), y[400:700] * 3


def votes(index, labels, k):
    """Of equally many votes the class that comes first."""
    found = []
    for row in labels[index[:, :k]]:
        counts = {label: list(row).count(label) for label in row}
        found.append(max(counts, key=lambda label: (counts[label], -list(row).index(label))))
    return np.array(found)


@pytest.mark.parametrize('space', best_nn.SPACES)
def test_against_scikit_learn(arrays, space):
    train, labels, test, truth = arrays
    found = best_nn.run(*arrays, max_k=15, space=space)
    if space != 'raw':
        shift = train.mean(0) if space == 'shifted-norm' else 0
        train, test = normalize(train - shift), normalize(test - shift)
    search = NearestNeighbors(n_neighbors=16, algorithm='brute').fit(train.astype(np.float64))
    index = search.kneighbors(test.astype(np.float64), return_distance=False)
    assert found['by_k'] == pytest.approx([(votes(index, labels, k) == truth).mean() for k in range(1, 16)])
    others = search.kneighbors(train.astype(np.float64), return_distance=False)
    assert (others[:, 0] == np.arange(400)).all()
    choice = [(votes(others[:, 1:], labels, k) == labels).mean() for k in range(1, 16)]
    assert found['choice_top1'] == pytest.approx(choice)
    assert found['k'] == np.argmax(choice) + 1 and found['top1'] == found['by_k'][found['k'] - 1]
    assert found['best_on_test'] == max(found['by_k']) and found['num_classes'] == 10
    json.dumps(found)


def test_copies_and_unlabelled(arrays):
    """A sample never votes for itself; -1 neither votes nor counts; the choice may look at a part."""
    train, labels, test, truth = arrays
    copies = best_nn.run(np.repeat(train[:5], 80, 0), np.arange(400) % 2, test, truth, max_k=3, num_choice=50)
    assert copies['num_choice'] == 50 and copies['top1'] <= 1
    half = np.where(np.arange(400) < 200, labels, -1)
    found = best_nn.run(train, half, test, truth, max_k=5)
    assert found == best_nn.run(train[:200], labels[:200], test, truth, max_k=5)


def test_what_is_wrong_is_named(arrays):
    train, labels, test, truth = arrays
    with pytest.raises(ValueError, match='max_k must be from 1 to 399.*got 400'):
        best_nn.run(*arrays, max_k=400)
    with pytest.raises(ValueError, match="got 'cosine'"):
        best_nn.run(*arrays, space='cosine')
    with pytest.raises(ValueError, match='hold NaN'):
        best_nn.run(train * np.nan, labels, test, truth)
    with pytest.raises(ValueError, match='64 dimensions, test features 3'):
        best_nn.run(train, labels, test[:, :3], truth)


def test_tool(run_tool, call_tool, tmp_path):
    """As a user calls it; the figures are those of the function."""
    done = run_tool('tools/benchmarks/small_models/knn.py', 'configs/demo/simclr_digits.py', '--layers', 'pixels',
                    '--rep-space', 'raw', 'norm', '--max-knn', 11, '--dataset-config',
                    'configs/benchmarks/classification/digits.py', '--out', tmp_path / 'out.json')  # yapf: disable
    found = json.loads((tmp_path / 'out.json').read_text())['pixels']
    assert set(found) == {'raw', 'norm'} and found['raw']['top1'] > 0.95 and len(found['norm']['by_k']) == 11
    assert 'best on the test set' in done.stdout + done.stderr
    done = call_tool('tools/benchmarks/small_models/knn.py', 'configs/demo/simclr_digits.py', '--layers', 'pixels',
                     '--max-knn', 5000, '--dataset-config', 'configs/benchmarks/classification/digits.py',
                     check=False)  # yapf: disable
    assert done.returncode == 1 and 'got 5000' in done.stderr and 'Traceback' not in done.stderr
