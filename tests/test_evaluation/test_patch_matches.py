"""Pictures of patch features against loops."""
import numpy as np
import pytest

from mmssl.evaluation.patches import (component_colours, foreground, magnified, match_patches, principal_components,
                                      two_classes, unit_features)
from mmssl.utils.errors import ConfigError


def random_vectors(*shape):
    return np.random.default_rng(3).normal(size=shape)


def test_principal_components():
    """Of singular values; signs do not depend on the order of the samples."""
    x = random_vectors(30, 6) * [5, 1, 3, 0.1, 0.2, 4]
    found = principal_components(x, 3)
    u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    expected = u[:, :3] * s[:3] * np.sign(v[range(3), np.abs(v[:3]).argmax(1)])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(principal_components(x[::-1], 3)[::-1], found, rtol=1e-8, atol=1e-8)
    assert principal_components(x[:, :2], 3).shape == (30, 3) and not principal_components(x[:, :2], 3)[:, 2].any()


def test_two_classes():
    """Otsu: the threshold of the least sum of squares within the parts."""
    x = np.concatenate([random_vectors(20), 4 + random_vectors(7)])
    ordered = np.sort(x)
    costs = [ordered[:i].var() * i + ordered[i:].var() * (27 - i) for i in range(1, 27)]
    best = int(np.argmin(costs))
    assert two_classes(x.reshape(3, 9)) == pytest.approx((ordered[best] + ordered[best + 1]) / 2)


def scene():
    """Two images: an object of two parts on a background, of which there is more."""
    maps = []
    for rows, columns in ((6, 8), (5, 5)):
        m = np.tile([0., 0., 1., 0.], (rows, columns, 1))
        m[1:4, 1:3] = [1., 0., 0., 0.]
        m[1:4, 3:4] = [0.9, 0.4, 0., 0.]
        maps.append(unit_features(m + 1e-3 * random_vectors(*m.shape)))
    return maps


def test_foreground():
    for side, number in (('auto', 9), ('above', 9), ('below', 9)):
        masks = foreground(scene(), side)
        counts = [int(m.sum()) for m in masks]
        inside = [masks[0][1:4, 1:4].all(), masks[1][1:4, 1:4].all()]
        assert (inside == [True, True] and counts == [9, 9]) or (side != 'auto' and counts == [39, 16])
    assert [m.sum() for m in foreground(scene(), 'above')] != [m.sum() for m in foreground(scene(), 'below')]


def test_colours():
    """Common components give like patches of two images like colours; the background is black."""
    maps = scene()
    masks = foreground(maps)
    first, second = component_colours(maps, masks)
    assert first.shape == (6, 8, 3) and first.dtype == np.uint8 and not first[~masks[0]].any()
    parts = [[np.median(p[1:4, 1:3].reshape(-1, 3), 0),
              np.median(p[1:4, 3:4].reshape(-1, 3), 0)] for p in (first, second)]
    assert abs(parts[0][0][0] - parts[1][0][0]) < 10 and abs(parts[0][1][0] - parts[1][1][0]) < 10
    assert abs(parts[0][0][0] - parts[0][1][0]) > 200
    alone, = component_colours(maps[:1], masks[:1])
    assert np.array_equal(component_colours(maps, masks, common=False)[0], alone)
    # by hand: the first component between its percentiles is red
    x = np.concatenate([m.reshape(-1, 4) for m in maps])
    y = principal_components(x, 3)[:, 0]
    low, high = np.percentile(y, [1, 99])
    red = np.round(255 * ((y - low) / (high - low)).clip(0, 1))
    found = np.concatenate([p.reshape(-1, 3) for p in component_colours(maps)])[:, 0]
    assert np.abs(found - red).max() <= 1
    nothing = component_colours([np.ones((2, 2, 3))])[0]
    assert (nothing == 128).all()


def test_magnified():
    """Each pixel fills the cell of its patch, also where sides are no multiples."""
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = magnified(picture, np.zeros((5, 4, 1)))
    assert large.shape == (5, 4, 3)
    assert np.array_equal(large[:, 0, 0], [0, 0, 0, 6, 6]) and np.array_equal(large[0, :, 0], [0, 0, 3, 3])


def test_matches():
    first, second = unit_features(random_vectors(4, 5, 3)), unit_features(random_vectors(3, 6, 3) + 0.2)
    flat = [(r, c) for r in range(4) for c in range(5)]
    found = match_patches(first, second, flat)
    for (row, column), match in zip(flat, found, strict=True):
        scores = {(r, c): float(first[row, column] @ second[r, c]) for r in range(3) for c in range(6)}
        best = max(scores, key=scores.get)
        back = {(r, c): float(first[r, c] @ second[best]) for r, c in flat}
        assert match.first == (row, column) and match.second == best
        assert match.similarity == pytest.approx(scores[best])
        assert match.mutual == (max(back, key=back.get) == (row, column))
    mutual = {m.first: m for m in found if m.mutual}
    everything = match_patches(first, second, count=100)
    assert {m.first: m for m in everything} == mutual
    assert [m.similarity for m in everything] == sorted((m.similarity for m in everything), reverse=True)
    some = match_patches(first, second, count=3)
    assert len(some) == 3 and all(mutual[m.first] == m for m in some)
    masks = np.arange(20).reshape(4, 5) % 3 > 0, np.arange(18).reshape(3, 6) % 4 > 0
    scores = {((r, c), (s, d)): float(first[r, c] @ second[s, d]) for r, c in zip(*masks[0].nonzero())
              for s, d in zip(*masks[1].nonzero())}  # yapf: disable
    best = {(a, b) for (a, b), value in scores.items()
            if value == max(v for (x, y), v in scores.items() if x == a or y == b)}  # yapf: disable
    assert {(m.first, m.second) for m in match_patches(first, second, count=100, masks=masks)} == best
    none = [np.zeros_like(m) for m in masks]
    assert match_patches(first, second, masks=none) == []
    with pytest.raises(ConfigError, match='no patch in row 4 and column 0: the first image has 4 rows and 5 columns'):
        match_patches(first, second, [(4, 0)])


def test_a_moved_image_is_found_again():
    """The same scene two patches further on: all mutual pairs are that far from each other."""
    scene = unit_features(random_vectors(6, 10, 8))
    for match in match_patches(scene[:, :8], scene[:, 2:], count=50):
        if match.first[1] >= 2:
            assert match.second == (match.first[0], match.first[1] - 2) and match.similarity == pytest.approx(1)
