"""Sets of permutations: the greedy rule against a plain loop, and the distances that they promise."""
from itertools import combinations, permutations
from zlib import crc32

import numpy as np
import pytest

from mmssl.datasets.permutations import RULES, choose_permutations, hamming_distances, load_permutations
from mmssl.utils.errors import ConfigError


def distance(a, b):
    return sum(x != y for x, y in zip(a, b))


@pytest.mark.parametrize('rule', RULES)
def test_each_choice_is_the_farthest_that_is_left(rule):
    """By the rule, and where that leaves a choice by the other one; the whole of 5! in the end."""
    chosen = [tuple(map(int, row)) for row in choose_permutations(120, 5, rule, seed=3)]
    left = set(permutations(range(5)))
    assert set(chosen) == left
    for k, pick in enumerate(chosen):
        if k:

            def score(candidate):
                distances = [distance(candidate, other) for other in chosen[:k]]
                key = sum(distances), min(distances)
                return key if rule == 'max-avg' else key[::-1]

            assert score(pick) == max(map(score, left))
        left.remove(pick)


@pytest.mark.parametrize('rule, number, minimum', [('max-avg', 9, 9), ('max-min', 9, 9), ('max-avg', 100, 4),
                                                   ('max-min', 100, 6), ('max-avg', 700, 2), ('max-min', 700, 5)])
def test_distances_of_the_sets_of_nine_patches(rule, number, minimum):
    """The figures of the documentation, and by the mean the largest one that a set of this size can have.

    A patch that comes to a place n times gives n (n - 1) / 2 pairs that are equal there: their sum is smallest where
    the n differ by one at most.
    """
    chosen = choose_permutations(number, 9, rule)
    found = hamming_distances(chosen)
    assert found['minimum'] == minimum
    times, more = divmod(number, 9)
    equal = 9 * ((9 - more) * times * (times - 1) // 2 + more * (times + 1) * times // 2)
    pairs = number * (number - 1) // 2
    assert found['counts'].sum() == pairs
    if rule == 'max-avg':
        assert found['counts'] @ (9 - np.arange(10)) == equal
        assert all(set(np.bincount(place, minlength=9)) <= {times, times + 1} for place in chosen.T)
    assert found['mean'] == pytest.approx(9 - equal / pairs, rel=0 if rule == 'max-avg' else 1e-4)


def test_distances_are_those_of_all_pairs():
    chosen = choose_permutations(40, 6)
    expected = [distance(a, b) for a, b in combinations(chosen.tolist(), 2)]
    found = hamming_distances(chosen)
    assert found['minimum'] == min(expected) and found['mean'] == pytest.approx(np.mean(expected))
    assert found['counts'].tolist() == np.bincount(expected, minlength=7).tolist()


def test_the_set_is_the_same_everywhere():
    """It is made anew by each process, so it must not depend on versions: the frozen streams of RandomState."""
    chosen = choose_permutations(100)
    assert chosen[:3].tolist() == [[5, 7, 0, 4, 2, 3, 6, 1, 8], [6, 1, 3, 7, 4, 8, 2, 5, 0],
                                   [4, 5, 8, 2, 6, 0, 3, 7, 1]]
    assert crc32(chosen.tobytes()) == 3811268310
    assert not np.array_equal(choose_permutations(100, seed=1), chosen)
    for rule in RULES:
        np.testing.assert_array_equal(choose_permutations(30, rule=rule), choose_permutations(50, rule=rule)[:30])


def test_more_than_nine_patches():
    """Of 16 there are too many to look at: a random sample stands for them."""
    chosen = choose_permutations(12, 16, 'max-min')
    assert (np.sort(chosen, 1) == np.arange(16)).all() and hamming_distances(chosen)['minimum'] >= 14


def test_published_files_count_from_1(tmp_path):
    chosen = choose_permutations(50)
    for rows, name in ((chosen, 'from0'), (chosen + 1, 'from1'), (chosen.astype(np.int64) + 1, 'int64')):
        np.save(tmp_path / f'{name}.npy', rows)
        np.testing.assert_array_equal(load_permutations(tmp_path / f'{name}.npy'), chosen)


@pytest.mark.parametrize('rows, message', [
    ([[0, 1, 2], [0, 2, 2]], r'row 1 is no permutation of 3 patches: \[0, 2, 2\]'),
    ([[0, 1, 2], [1, 0, 2], [0, 1, 2]], 'a permutation twice'),
    ([0, 1, 2], r'got int64 of shape \(3,\)'),
    ([[0., 1.]], r'got float64 of shape \(1, 2\)'),
    (np.zeros((0, 9), int), r'of shape \(0, 9\)'),
    (np.arange(300)[None], r'of 2 to 64 patches, got the shape \(1, 300\)'),
])
def test_files_of_something_else(tmp_path, rows, message):
    np.save(tmp_path / 'rows.npy', np.asarray(rows))
    with pytest.raises(ConfigError, match=f'rows.npy: .*{message}'):
        load_permutations(tmp_path / 'rows.npy')


def test_files_that_numpy_does_not_read(tmp_path):
    (tmp_path / 'text.npy').write_text('hello')
    (tmp_path / 'empty.npy').touch()
    np.savez(tmp_path / 'several.npz', a=np.arange(3))
    for name, message in dict(text='no .npy file of numbers', empty='no .npy file of numbers').items():
        with pytest.raises(ConfigError, match=f'{name}.npy is {message}'):
            load_permutations(tmp_path / f'{name}.npy')
    with pytest.raises(ConfigError, match=r'got several arrays \(.npz\)'):
        load_permutations(tmp_path / 'several.npz')


@pytest.mark.parametrize('changes, message', [
    (dict(rule='max'), "one of .*, got 'max'"),
    (dict(number=25), '1 to 24, which is what 4 patches give; got 25'),
    (dict(number=0), 'got 0'),
    (dict(patches=1), 'patches must be 2 to 64, got 1'),
    (dict(seed=-1), 'seed must be 0 to 4294967295, got -1'),
])
def test_sets_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        choose_permutations(**dict(dict(number=10, patches=4), **changes))
