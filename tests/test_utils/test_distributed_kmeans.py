"""k-means over processes: against scikit-learn and a naive float64 form, and however the rows are spread."""
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from torch.nn import functional as F

from mmssl.utils import kmeans
from mmssl.utils.kmeans import distributed_kmeans, nearest_centroids


def digits(n=400, offset=0.):
    return torch.from_numpy(load_digits().data[:n]).float() + offset


def noise(n=500, d=24, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def naive_kmeans(x, centroids, iterations, spherical):
    """One cluster after the other, in float64, from given centroids."""
    x, centroids = x.double(), centroids.double()
    if spherical:
        x = F.normalize(x, dim=1)
    losses = []
    for step in range(iterations + 1):
        distances = (x[:, None] - centroids).square().sum(2)
        labels = distances.argmin(1)
        losses.append(float(distances.min(1).values.sum()))
        if step == iterations:
            return labels, centroids, losses
        for cluster in range(len(centroids)):
            if (labels == cluster).any():
                mean = x[labels == cluster].mean(0)
                centroids[cluster] = F.normalize(mean, dim=0) if spherical else mean


@pytest.mark.parametrize('spherical', [False, True])
@pytest.mark.parametrize('scores', [2**22, 70])
def test_it_is_the_naive_form(spherical, scores, monkeypatch):
    """Whole and in pieces of a few rows."""
    monkeypatch.setattr(kmeans, '_SCORES', scores)
    x = noise()
    first = distributed_kmeans(x, 12, 0, spherical=spherical)
    labels, centroids, losses = naive_kmeans(x, first.centroids, 7, spherical)
    found = distributed_kmeans(x, 12, 7, spherical=spherical)
    assert torch.equal(found.labels, labels)
    torch.testing.assert_close(found.centroids.double(), centroids, atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-6)
    assert torch.equal(found.sizes, labels.bincount(minlength=12))
    assert found.losses == sorted(found.losses, reverse=True)
    if spherical:
        torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(12))


def test_it_is_as_good_as_scikit_learn():
    """From random rows, as scikit-learn with init='random': the loss of the best of ten runs within 1 %."""
    x = digits(1797)
    reference = SklearnKMeans(10, init='random', n_init=10, max_iter=30, random_state=0).fit(x.numpy())
    best = min(distributed_kmeans(x, 10, 30, seed=seed).losses[-1] for seed in range(10))
    assert best == pytest.approx(reference.inertia_, rel=0.01)


def test_first_centroids_are_random_rows():
    """Different ones for each seed, each row about as often, and never one row twice."""
    x = torch.arange(50.)[:, None]
    counts = torch.zeros(50)
    for seed in range(400):
        chosen = distributed_kmeans(x, 10, 0, seed=seed).centroids.round().long()[:, 0]
        assert len(set(chosen.tolist())) == 10
        counts[chosen] += 1
    # 80 each are expected, with a standard deviation of 8
    assert counts.min() > 45 and counts.max() < 115 and 5 < counts.std() < 12


def test_far_from_the_origin():
    """Squares of 1e4 would leave float32 no digits for the distances of the digits' pixels."""
    near, far = distributed_kmeans(digits(), 10, 8), distributed_kmeans(digits(offset=10000.), 10, 8)
    assert normalized_mutual_info_score(near.labels, far.labels) > 0.99
    assert far.losses[-1] == pytest.approx(near.losses[-1], rel=0.01)
    labels = nearest_centroids(digits(offset=10000.), far.centroids)
    assert (labels == far.labels).float().mean() > 0.99


@pytest.mark.parametrize('spherical', [False, True])
def test_empty_clusters(spherical):
    """Copies of two rows make ten clusters of which two are filled; the others keep their centroids."""
    x = noise(2).repeat(20, 1)
    found = distributed_kmeans(x, 10, 3, spherical=spherical)
    assert (found.sizes > 0).sum() == 2 and found.sizes.sum() == 40
    assert found.centroids.isfinite().all() and found.losses[-1] < 1e-3
    again = distributed_kmeans(x, 10, 3, spherical=spherical, reseed_empty=True)
    assert again.losses[-1] < 1e-3


def test_empty_clusters_are_moved_to_the_farthest_rows():
    """Of 20 copies and 3 outliers, whichever rows are first, all 4 clusters are found."""
    x = torch.cat([torch.zeros(20, 2), torch.tensor([[9., 0.], [0., 8.], [-7., 0.]])])
    kept = [(distributed_kmeans(x, 4, 5, seed=seed).sizes == 0).any() for seed in range(8)]
    assert any(kept)
    for seed in range(8):
        found = distributed_kmeans(x, 4, 5, seed=seed, reseed_empty=True)
        assert sorted(found.sizes.tolist()) == [1, 1, 1, 20] and found.losses[-1] < 1e-3


def test_opposite_directions_have_no_mean():
    x = torch.tensor([[1., 0.], [-1., 0.]])
    found = distributed_kmeans(x, 1, 2, spherical=True)
    assert found.centroids.norm(dim=1).tolist() == [1.] and found.sizes.tolist() == [2]


def test_half_precision_features():
    x = noise().half()
    found, expected = distributed_kmeans(x, 6, 5), distributed_kmeans(x.float(), 6, 5)
    assert torch.equal(found.labels, expected.labels) and found.centroids.dtype == torch.float32


@pytest.mark.parametrize('x, k, message', [
    (noise(9), 10, '9 samples cannot make 10 clusters'),
    (noise(9), 0, 'must be a positive integer, got 0'),
    (noise(9).index_fill(0, torch.tensor([2, 5]), float('nan')), 3, '2 of 9 features hold NaN or infinity'),
    (noise(9)[:, 0], 3, r'N x D numbers, got the shape \(9,\)'),
])
def test_what_cannot_be_clustered(x, k, message):
    with pytest.raises(ValueError, match=message):
        distributed_kmeans(x, k)


def test_nearest_centroids_are_nearest():
    x, c = noise(), noise(7, seed=1)
    assert torch.equal(nearest_centroids(x, c), torch.cdist(x.double(), c.double()).argmin(1))
    with pytest.raises(ValueError, match='24 dimensions, the centroids 3'):
        nearest_centroids(x, c[:, :3])


def _shards(rank, world_size):
    """k-means of rows that are spread in three ways, one of them with two rows on the second process, and faults."""
    x, number = noise(300), torch.arange(300)
    ways = dict(
        halves=number.tensor_split(world_size)[rank],
        alternating=number[rank::world_size],
        few=number[:298] if rank == 0 else number[298:],
        none=number if rank == 0 else number[:0])
    found = {}
    for spherical in (False, True):
        for name, mine in ways.items():
            for reseed in (False, True):
                result = distributed_kmeans(
                    x[mine], 20, 6, spherical=spherical, index=mine, seed=3, reseed_empty=reseed)
                labels = torch.zeros(300, dtype=torch.int64)
                labels[mine] = result.labels
                found[spherical, name, reseed] = (labels, mine, result.centroids, result.sizes, result.losses)
    messages = []
    for rows, k in ((x[:8], 17), (x[:8] if rank else x[:8] * float('inf'), 3)):
        try:
            distributed_kmeans(rows, k)
        except ValueError as error:
            messages.append(str(error))
    return found, messages


def test_two_processes_are_one(run_distributed):
    x = noise(300)
    (first, messages), (second, other) = run_distributed(_shards)
    for key, (labels, mine, centroids, sizes, losses) in first.items():
        expected = distributed_kmeans(x, 20, 6, spherical=key[0], seed=3, reseed_empty=key[2])
        labels[second[key][1]] = second[key][0][second[key][1]]
        assert torch.equal(labels, expected.labels), key
        assert torch.equal(centroids, second[key][2]) and torch.equal(sizes, expected.sizes)
        torch.testing.assert_close(centroids, expected.centroids, atol=1e-7, rtol=1e-6)
        np.testing.assert_allclose(losses, expected.losses, rtol=1e-6)
    # the same error on both, with the numbers of both together
    assert messages == other
    assert messages[0].startswith('16 samples cannot make 17 clusters') and messages[1].startswith('8 of 16 features')
