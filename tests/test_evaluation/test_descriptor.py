# Copyright (c) mmssl contributors. All rights reserved.
"""Features by which a run compares images, against their definition."""
import numpy as np
import pytest
from mmcv import Config

from mmssl.datasets import build_dataset
from mmssl.evaluation import descriptor
from mmssl.evaluation.descriptor import Descriptor
from mmssl.evaluation.features import extract_features
from mmssl.evaluation.whitening import Whitening
from mmssl.models import build_backbone
from mmssl.utils.errors import ConfigError


def correlated(n=200, d=5):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 3


@pytest.mark.parametrize('power', [0., 0.1, 0.25, 0.5])
def test_partial_whitening(power):
    """Covariance C becomes C^(1 - 2 power), up to the scale, in the same axes."""
    x = correlated()
    whitening = Whitening.partial(x, power, ridge=0)
    centred = x - x.mean(0)
    white = centred @ whitening.projection
    values, axes = np.linalg.eigh(centred.T @ centred / len(x))
    expected = axes @ np.diag((values / values[-1])**(1 - 2 * power)) @ axes.T * values[-1]
    np.testing.assert_allclose(white.T @ white / len(x), expected, atol=1e-9)
    unit = white / np.linalg.norm(white, axis=1, keepdims=True)
    np.testing.assert_allclose(whitening.apply(x.astype(np.float32)), unit, atol=1e-5)


def test_fewer_images_than_dimensions():
    """Directions in which nothing varies are not blown up."""
    x = correlated(4, 9).astype(np.float32)
    whitening = Whitening.partial(x, 0.5)
    assert np.abs(np.linalg.eigvalsh(whitening.projection)).max() < 101  # 1 / sqrt(1e-4), of the ridge
    assert np.isfinite(whitening.apply(x)).all()
    x[:, 2] = 7 + 1e-6 * np.arange(4)
    assert (Whitening.partial(x, 0.1).apply(x)[:, 2] == 0).all()  # what does not vary is no noise afterwards
    with pytest.raises(ValueError, match='0 to 0.5, got 0.6'):
        Whitening.partial(x, 0.6)
    with pytest.raises(ValueError, match='all alike'):
        Whitening.partial(np.ones((3, 2)), 0.1)


def test_stages_side_by_side(monkeypatch):
    model = build_backbone(dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4))
    data = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='Digits', color_type='grayscale', num_images=8),
            pipeline=[],
            prefetch=True))
    norm = dict(mean=[0.3], std=[0.35])
    rule = Descriptor.of(Config(dict(features=dict(layers=['stage3', 'stage4'], pool_type='grid:2', power=0.1))))
    found = rule.extract(model, data, img_norm_cfg=norm)
    parts = extract_features(model, data, layers=('stage3', 'stage4'), pool_type='grid:2', img_norm_cfg=norm)
    expected = np.concatenate([p / np.linalg.norm(p, axis=1, keepdims=True) for p in parts.layers.values()], 1)
    np.testing.assert_allclose(found['descriptor'], expected, atol=1e-6)
    white = rule.learn(found['descriptor']).apply(found['descriptor'])
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, atol=1e-5)
    # of many images some are enough to learn from
    monkeypatch.setattr(descriptor, '_MOST', 5)
    some = np.sort(np.random.default_rng(0).choice(8, 5, replace=False))
    learned = rule.learn_from(model, data, img_norm_cfg=norm)
    np.testing.assert_allclose(learned.mean, found['descriptor'][some].mean(0), atol=1e-6)

    plain = Descriptor.of(Config(dict(model={})))
    pooled = extract_features(model, data, img_norm_cfg=norm)['pooled']
    np.testing.assert_array_equal(plain.extract(model, data, img_norm_cfg=norm)['descriptor'], pooled)
    assert plain.learn(pooled) is None
    with pytest.raises(ConfigError, match='no whiten'):
        Descriptor.of(Config(dict(features=dict(whiten=1))))
    for section, message in ((dict(layers=['stage']), "features: unknown layer 'stage'"),
                             (dict(layers=['stage3'], pool_type='squares'), "features: unknown pool_type 'squares'"),
                             (dict(layers=['stage3'], power=0.7), 'features.power is 0 to 0.5, got 0.7')):
        with pytest.raises(ConfigError, match=message):
            Descriptor.of(Config(dict(features=section)))
