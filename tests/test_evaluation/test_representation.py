"""Figures of a representation against float64 references and closed forms."""
import numpy as np
import pytest
import torch

from mmssl.evaluation import representation


@pytest.fixture()
def features():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(24, 24, generator=generator)
    return (torch.randn(60, 24, generator=generator) @ mixing) + 0.5


def normalised(x):
    x = x.double().numpy()
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_feature_std(features):
    """The standard deviation is over samples, not over dimensions (the wrong one is a known defect)."""
    expected = normalised(features).std(axis=0).mean() * np.sqrt(24)
    assert representation.feature_std(features).item() == pytest.approx(expected, rel=1e-5)
    assert representation.feature_std(torch.ones(8, 5)).item() == pytest.approx(0, abs=1e-6)
    spread = torch.randn(20000, 16, generator=torch.Generator().manual_seed(0))
    assert representation.feature_std(spread).item() == pytest.approx(1, abs=0.01)


def test_effective_rank(features):
    s = np.linalg.svd(features.double().numpy(), compute_uv=False)
    p = s / s.sum()
    assert representation.effective_rank(features).item() == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)
    assert representation.effective_rank(torch.eye(7)).item() == pytest.approx(7, rel=1e-5)
    assert representation.effective_rank(torch.ones(9, 7)).item() == pytest.approx(1, abs=1e-3)
    assert representation.effective_rank(torch.zeros(9, 7)).item() == 1  # a total collapse is no NaN


def test_alignment_and_uniformity(features):
    other = features + 0.3 * torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    x, y = normalised(features), normalised(other)
    for alpha in (1, 2):
        expected = np.mean([np.linalg.norm(a - b)**alpha for a, b in zip(x, y)])
        assert representation.alignment(features, other, alpha).item() == pytest.approx(expected, rel=1e-5)
    for t in (2, 3):
        potential = [np.exp(-t * ((x[i] - x[j])**2).sum()) for i in range(60) for j in range(i)]
        assert representation.uniformity(features, t).item() == pytest.approx(np.log(np.mean(potential)), rel=1e-5)
    assert representation.uniformity(torch.ones(8, 5)).item() == pytest.approx(0, abs=1e-6)
    assert representation.alignment(features, features).item() == 0


def test_run(features):
    metrics = representation.run(features.numpy(), features.numpy() + 0.1)
    assert metrics['effective_rank'] == pytest.approx(representation.effective_rank(features).item())
    assert metrics['alignment'] == pytest.approx(representation.alignment(features, features + 0.1).item(), rel=1e-4)
    assert set(representation.run(features)) == {'feature_std', 'effective_rank', 'uniformity'}
    few = representation.run(features, max_samples=2)
    assert few['effective_rank'] == pytest.approx(representation.effective_rank(features[[0, 59]]).item())
    with pytest.raises(ValueError, match=r'positives have shape \(59, 24\), features \(60, 24\)'):
        representation.run(features, features[1:])
    with pytest.raises(ValueError, match='at least 2'):
        representation.run(features[:1])
