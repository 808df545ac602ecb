"""Descriptors for retrieval: formulas, limits, and loops over regions."""
import numpy as np
import pytest
import torch

from mmssl.models.utils import pooling


@pytest.fixture
def maps():
    return torch.rand(2, 5, 6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_generalised_mean(maps):
    expected = np.mean(np.clip(maps.numpy(), 1e-6, None)**3, axis=(2, 3))**(1 / 3)
    np.testing.assert_allclose(pooling.gem(maps).numpy(), expected, rtol=1e-12)
    torch.testing.assert_close(pooling.gem(maps, p=1), maps.mean((2, 3)))
    assert torch.equal(pooling.gem(maps, p=float('inf')), maps.amax((2, 3)))
    torch.testing.assert_close(pooling.gem(maps, p=200), maps.amax((2, 3)), rtol=0.05, atol=0)
    assert torch.isfinite(pooling.gem(-maps)).all() and pooling.gem(maps, keepdims=True).shape == (2, 5, 1, 1)
    biased = pooling.gem(maps, add_bias=True)
    assert biased.shape == (2, 6) and (biased[:, 5] == 1).all() and torch.equal(biased[:, :5], pooling.gem(maps))
    with pytest.raises(ValueError, match='p must be positive, got 0'):
        pooling.gem(maps, p=0)


def test_small_things(maps):
    torch.testing.assert_close(
        pooling.l2n(maps).norm(dim=1), torch.ones(2, 6, 9, dtype=torch.float64), rtol=1e-5, atol=0)
    assert (pooling.l2n(torch.zeros(1, 3)) == 0).all()
    assert pooling.flatten(maps).shape == (2, 270) and pooling.flatten(maps, keepdims=True).shape == (2, 270, 1, 1)


@pytest.mark.parametrize('height, width', [(7, 7), (6, 9), (9, 6), (7, 20), (1, 1), (2, 13)])
def test_regions_lie_inside_and_cover_the_map(height, width):
    regions = pooling.get_rmac_region_coordinates(height, width, 3)
    covered = np.zeros((height, width), bool)
    for top, left, h, w in regions:
        assert 0 <= top <= top + h <= height and 0 <= left <= left + w <= width and h == w
        covered[top:top + h, left:left + w] = True
    if max(height, width) < 5 * min(height, width):
        assert covered.all()
    turned = {(left, top) for top, left, _, _ in pooling.get_rmac_region_coordinates(width, height, 3)}
    assert {(top, left) for top, left, _, _ in regions} == turned


def test_regions_of_a_square_map():
    """1 + 4 + 9 squares, of sides 7, 4 and 3."""
    regions = pooling.get_rmac_region_coordinates(7, 7, 3)
    assert [r[2] for r in regions] == [7] + [4] * 4 + [3] * 9
    assert regions[1:5] == [(0, 0, 4, 4), (0, 3, 4, 4), (3, 0, 4, 4), (3, 3, 4, 4)]
    # 6 x 9: two regions of side 6 along the longer side overlap by half
    assert pooling.get_rmac_region_coordinates(6, 9, 1) == [(0, 0, 6, 6), (0, 3, 6, 6)]
    with pytest.raises(ValueError, match='at least 1, got 7, 7 and 0'):
        pooling.get_rmac_region_coordinates(7, 7, 0)


def test_rmac_against_a_loop(maps):
    matrix = torch.rand(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for pca in (None, lambda x: x @ matrix):
        expected = []
        for image in maps.numpy():
            total = 0
            for top, left, h, w in pooling.get_rmac_region_coordinates(6, 9, 3):
                vector = image[:, top:top + h, left:left + w].max((1, 2))
                vector = vector / np.linalg.norm(vector)
                if pca:
                    vector = vector @ matrix.numpy()
                    vector = vector / np.linalg.norm(vector)
                total = total + vector
            expected.append(total / np.linalg.norm(total))
        np.testing.assert_allclose(pooling.get_rmac_descriptors(maps, 3, pca).numpy(), expected, rtol=1e-10)
