import numpy as np
import pytest

from mmssl.utils.permutation import KeyedPermutation, keyed_below


def chi_square(counts):
    """Pearson's statistic for equal expectations, in standard deviations above what chance gives."""
    expected = counts.sum() / counts.size
    return (((counts - expected)**2).sum() / expected - counts.size + 1) / np.sqrt(2 * counts.size)


SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 97, 255, 256, 257, 1000, 4095, 4097, 65537, 99991]


@pytest.mark.parametrize('n', SIZES)
def test_every_number_comes_once(n):
    order = KeyedPermutation(n, (3, n))
    assert len(order) == n
    assert np.array_equal(np.sort(order[np.arange(n)]), np.arange(n))


@pytest.mark.parametrize('n', [2**24 + 1, 10**8, 2**40 - 3, 2**62])
def test_large_orders_have_no_doubles(n):
    places = np.random.default_rng(0).integers(n, size=50000)
    places = np.unique(np.concatenate([places, np.arange(50000), n - 1 - np.arange(50000)]))
    found = KeyedPermutation(n, (0, 1))[places]
    assert len(np.unique(found)) == len(places) and 0 <= found.min() and found.max() < n
    assert np.array_equal(KeyedPermutation(n, (0, 1))[places[::-7]], found[::-7])  # whoever asks, and in what order


def numpys(n, key):
    return np.random.default_rng(key).permutation(n)


@pytest.mark.parametrize(
    'order', [lambda n, key: KeyedPermutation(n, key)[np.arange(n)], numpys], ids=['keyed', 'numpy'])
def test_it_is_as_uniform_as_a_shuffle(order):
    """Where numbers go, who stands beside whom, and that keys have nothing to do with each other: bounds of 4.5
    standard deviations for statistics that numpy's shuffle meets as well."""
    n, cells = 2**15 + 11, 32
    where, beside, both = (np.zeros((cells, cells)) for _ in range(3))
    steps = []
    last = order(n, (7, 0))
    for epoch in range(1, 9):
        now = order(n, (7, epoch))
        cell = now * cells // n
        np.add.at(where, (np.arange(n) * cells // n, cell), 1)
        np.add.at(beside, (cell[:-1:2], cell[1::2]), 1)
        np.add.at(both, (last * cells // n, cell), 1)
        steps.append(np.bincount((now[1:] - now[:-1]) % n % 64, minlength=64))
        last = now
    assert abs(np.array([chi_square(t) for t in (where, beside, both, np.sum(steps, 0))])).max() < 4.5
    assert abs(np.corrcoef(order(n, (7, 0)), order(n, (8, 0)))[0, 1]) < 4.5 / np.sqrt(n)
    assert (order(n, (7, 1)) == order(n, (8, 0))).sum() < 10  # one is expected
    # 97 numbers: each at each place
    small = np.zeros((97, 97))
    for key in range(400):
        small[np.arange(97), order(97, (key, ))] += 1
    assert abs(chi_square(small)) < 4.5


def test_numbers_below():
    for n in (1, 3, 1000, 2**33):
        drawn = keyed_below(n, (1, 2), np.arange(100000))
        assert 0 <= drawn.min() and drawn.max() < n
        assert np.array_equal(keyed_below(n, (1, 2), np.arange(500, 600)), drawn[500:600])
        cells = min(n, 100)
        assert cells == 1 or abs(chi_square(np.bincount((drawn * cells // n), minlength=cells))) < 4.5
    assert (keyed_below(1000, (1, 3), np.arange(100000)) == keyed_below(1000, (1, 2), np.arange(100000))).mean() < .003


def test_lengths_that_do_not_fit():
    for n in (0, 2**62 + 1):
        with pytest.raises(ValueError, match='1 to 2'):
            KeyedPermutation(n, (0, ))
