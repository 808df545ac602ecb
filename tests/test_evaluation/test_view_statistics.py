"""The six figures of views against all pairs in float64, one after another."""
import itertools

import numpy as np
import pytest
import torch

from mmssl.evaluation import representation, view_statistics


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def squared(x, y):
    return float(((x - y)**2).sum())


def class_alignment(x, labels):
    means = []
    for c in sorted(set(labels[labels >= 0])):
        pairs = list(itertools.combinations(x[labels == c], 2))
        if pairs:
            means.append(np.mean([squared(a, b) for a, b in pairs]))
    return np.mean(means)


def uniform(x, t=2):
    return np.log(np.mean([np.exp(-t * squared(a, b)) for a, b in itertools.combinations(x, 2)]))


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    labels = np.repeat([7, 2, 40, -1, 5], [9, 4, 2, 3, 1])  # one class has a single image, some images have no class
    originals = rng.normal(size=(len(labels), 6)) + 0.3 * labels[:, None]
    views = [originals + rng.normal(scale=s, size=originals.shape) for s in (0.3, 0.5, 0.9)]
    return originals, views, labels


@pytest.mark.parametrize('dtype, tolerance', [('float64', 1e-12), ('float32', 2e-6)])
def test_against_all_pairs(data, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(representation, '_TILE', 4)  # several tiles, the last not full
    originals, views, labels = data
    x, (u, v, w) = unit(originals), map(unit, views)
    found = view_statistics.run(originals.astype(dtype), [view.astype(dtype) for view in views], labels)
    expected = dict(
        d_sd_alignment=np.mean([squared(a, b) for view in (u, v, w) for a, b in zip(x, view)]),
        sd_sd_alignment=np.mean([squared(a, b) for y, z in ((u, v), (u, w), (v, w)) for a, b in zip(y, z)]),
        d_class_alignment=class_alignment(x, labels),
        sd_class_alignment=np.mean([class_alignment(y, labels) for y in (u, v, w)]),
        d_uniformity=uniform(x),
        sd_uniformity=np.mean([uniform(y) for y in (u, v, w)]))
    assert {name: found.pop(name) for name in expected} == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert found == dict(num_images=19, num_views=3, num_classes=3)


def test_scale_of_published_figures():
    """MobileNetV3, 800 epochs: D-SD .2273, SD-SD .2858, classes about 1.3, uniformity -3.42 and -3.32.

    Evenly spread directions in many dimensions reach -4 + 8 / D, so that figures of that size are those of t = 2 and
    of squared distances; a view at the cosine 0.886 of its original has D-SD .2273.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(600, 1280, generator=generator), dim=1)
    noise = torch.nn.functional.normalize(torch.randn(600, 1280, generator=generator), dim=1)
    cosine = 1 - .2273 / 2
    view = cosine * x + (1 - cosine**2)**0.5 * noise
    found = view_statistics.run(x, [view], torch.arange(600) % 10)
    assert found['d_sd_alignment'] == pytest.approx(.2273, abs=0.01)
    assert found['d_uniformity'] == pytest.approx(-4 + 8 / 1280, abs=0.01)
    assert found['d_class_alignment'] == pytest.approx(2, abs=0.01)
    assert 'sd_sd_alignment' not in found and found['num_views'] == 1


def test_collapse_and_absent_labels():
    same = np.ones((5, 4), np.float32)
    found = view_statistics.run(same, [same, same], np.full(5, -1))
    assert found == dict(
        d_sd_alignment=0, sd_sd_alignment=0, d_uniformity=0, sd_uniformity=0, num_images=5, num_views=2, num_classes=0)
    assert found == view_statistics.run(same, [same, same])


def test_errors(data):
    originals, views, labels = data
    for arguments, words in [((originals, []), 'no views'), ((originals[:1], [views[0][:1]]), 'at least 2'),
                             ((originals, [views[0][1:]]), r'view 1 features have shape \(18, 6\)'),
                             ((originals, views, labels[1:]), '19 samples'),
                             ((originals, views, np.arange(19)), 'none of the 19 classes has two'),
                             ((originals, [views[0], views[1] * np.nan]), 'view 2 features: 19 of 19 .*NaN'),
                             ((originals, views, labels, 0), 't must be positive, got 0')]:
        with pytest.raises(ValueError, match=words):
            view_statistics.run(*arguments)
