"""Label-free figures on features whose answers are known."""
import numpy as np
import pytest
import torch

from mmssl.evaluation import quality


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


@pytest.mark.parametrize('alpha', [0.5, 1., 2.])
def test_exponent_of_a_power_law(draw, alpha):
    """Features whose covariance has the eigenvalues i^-alpha, with a mean that must not matter."""
    orthogonal = torch.linalg.qr(draw(200, 200)).Q
    z = draw(4096, 200) * torch.arange(1, 201)**(-alpha / 2) @ orthogonal + 5
    assert quality.alpha_req(z) == pytest.approx(alpha, abs=0.06)
    assert quality.alpha_req(z[:150]) == pytest.approx(alpha, abs=0.3)


@pytest.mark.parametrize('dims', [2, 5])
def test_dimension_of_a_flat_set_in_many_dimensions(draw, dims):
    z = torch.rand(3000, dims, generator=torch.Generator().manual_seed(1)) @ torch.linalg.qr(draw(40, dims)).Q.T
    assert quality.intrinsic_dimension(z) == pytest.approx(dims, rel=0.12)
    doubled = torch.cat([z, z])
    assert quality.intrinsic_dimension(doubled) == pytest.approx(quality.intrinsic_dimension(z), rel=1e-9)


def test_dimension_against_a_loop(draw):
    z, k = draw(60, 4).double(), 6
    inverse = []
    for i in range(60):
        distances = sorted(float((z[i] - z[j]).norm()) for j in range(60) if j != i)[:k]
        inverse.append(np.mean([np.log(distances[-1] / d) for d in distances[:-1]]))
    assert quality.intrinsic_dimension(z, k) == pytest.approx(1 / np.mean(inverse), rel=1e-9)


def test_learnability_against_a_loop(draw):
    from mmssl.utils.clustering import run_kmeans
    z, k, clusters = torch.nn.functional.normalize(draw(120, 6), dim=1), 5, 7
    labels, order = run_kmeans(z.numpy(), clusters, seed=3)[0], np.random.default_rng(3).permutation(120)
    x, labels, right = z[order], labels[order], 0
    for i in range(1, 120):
        nearest = (x[:i] @ x[i]).argsort(descending=True)[:k].numpy()
        right += np.bincount(labels[nearest], minlength=clusters).argmax() == labels[i]
    assert quality.cluster_learnability(z, clusters, k, 3) == pytest.approx(right / 119, abs=1e-12)


def test_blobs_are_learned_and_noise_is_not(draw):
    blobs = draw(10, 32).repeat_interleave(100, 0) + 0.01 * draw(1000, 32)
    found, noise = quality.run(blobs, clusters=10), quality.run(draw(1000, 32), clusters=10)
    assert found['cluster_learnability'] > 0.9 > 0.6 > noise['cluster_learnability']
    assert found['rankme'] < noise['rankme'] == pytest.approx(32, rel=0.02)
    first, second = quality.clid([found, noise])
    assert first == pytest.approx(-second)
    assert quality.clid([found]) == [0]


@pytest.mark.parametrize('features, options, words', [
    (torch.ones(49, 3), {}, '49 samples are too few'),
    (torch.full((60, 3), torch.nan), {}, 'NaN'),
    (torch.ones(60, 3), dict(neighbours=2), 'at least 3, got 2'),
])
def test_bad_input(features, options, words):
    with pytest.raises(ValueError, match=words):
        quality.run(features, **options)


def test_collapse_has_figures_too():
    """All features the same: nothing is divided by zero."""
    found = quality.run(torch.ones(100, 8))
    assert found['rankme'] == pytest.approx(1) and found['intrinsic_dimension'] == 0 and np.isnan(found['alpha_req'])
