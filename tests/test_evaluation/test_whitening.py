"""PCA whitening against its definition and scikit-learn."""
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from mmssl.evaluation.whitening import Whitening
from mmssl.models.utils.pooling import get_rmac_descriptors, get_rmac_region_coordinates
from mmssl.utils.errors import ConfigError


def features(n=80, d=6):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 3).astype(np.float32)


@pytest.mark.parametrize('dims', [None, 3])
def test_against_scikit_learn(dims):
    x = features()
    whitening = Whitening.learn(x, dims)
    white = (x - whitening.mean) @ whitening.projection
    np.testing.assert_allclose(white.T @ white / len(x), np.eye(dims or 6), atol=1e-9)
    reference = PCA(dims, whiten=True, svd_solver='full').fit(x.astype(float)).transform(x.astype(float))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    found = whitening.apply(x)
    # scikit-learn chooses other signs
    np.testing.assert_allclose(found, reference * np.sign((found * reference).sum(0)), atol=1e-6)


def test_rank_and_files(tmp_path):
    """Fewer samples than dimensions vary in one direction less; a file gives the same."""
    x = features(5, 12)
    whitening = Whitening.learn(x)
    assert whitening.projection.shape == (12, 4)
    whitening.save(tmp_path / 'w.npz')
    np.testing.assert_array_equal(Whitening.load(tmp_path / 'w.npz').apply(x), whitening.apply(x))
    with pytest.raises(ValueError, match='5 whitening features of 12 dimensions vary in 4 directions: 5'):
        Whitening.learn(x, 5)
    with pytest.raises(ValueError, match='vary in 0 directions'):
        Whitening.learn(np.ones((3, 2)))
    with pytest.raises(ValueError, match='vary in 0 directions'):
        Whitening.learn(x[:1])
    with pytest.raises(ValueError, match='for 12 dimensions, the features have 3'):
        whitening.apply(x[:, :3])
    x[2, 1] = np.nan
    with pytest.raises(ValueError, match='NaN'):
        Whitening.learn(x)
    (tmp_path / 'w.npz').write_text('nothing')
    with pytest.raises(ConfigError, match='w.npz is no whitening'):
        Whitening.load(tmp_path / 'w.npz')


def test_inside_r_mac():
    """Tolias et al., 2016: maxima of regions, unit length, whitening, unit length, sum, unit length."""
    whitening, maps = Whitening.learn(features(), 4), torch.from_numpy(features(2 * 35)).reshape(2, 5, 7,
                                                                                                 6).movedim(3, 1)
    found = get_rmac_descriptors(maps, 3, whitening.apply)
    assert isinstance(found, torch.Tensor) and found.shape == (2, 4)
    for row, image in zip(found, maps.double().numpy()):
        total = np.zeros(4)
        for top, left, height, width in get_rmac_region_coordinates(5, 7, 3):
            x = image[:, top:top + height, left:left + width].max((1, 2))
            x = (x / np.linalg.norm(x) - whitening.mean) @ whitening.projection
            total += x / np.linalg.norm(x)
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-5)
