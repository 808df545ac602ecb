"""Clusterings against references, on data whose clusters are known, and on data that cannot be clustered."""
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score

from mmssl.utils import clustering
from mmssl.utils.clustering import (CLUSTERINGS, PIC, Kmeans, find_maxima_cluster, make_adjacencyW, make_graph,
                                    normalized_mutual_information, preprocess_features, run_kmeans, run_pic)


def blobs(n=300, k=6, dims=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, dims)) * 10
    labels = rng.integers(k, size=n)
    return (centres[labels] + rng.normal(size=(n, dims))).astype(np.float32), labels


@pytest.fixture(scope='module')
def digits():
    return load_digits().data.astype(np.float32)


def test_whitening_is_that_of_scikit_learn(digits):
    """Each component has the same variance, which is PCA with eigen_power -0.5; then rows have unit length."""
    x = digits + 100  # far from zero: the mean goes first
    expected = PCA(10, whiten=True, svd_solver='full').fit_transform(x.astype(np.float64))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = preprocess_features(x, 10)
    assert found.dtype == np.float32 and found.shape == (1797, 10)
    found *= np.sign((found * expected).sum(0))  # directions have no sign
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_whitening_in_pieces_and_without_variance(monkeypatch):
    """Constant dimensions (dead units) and copies of others make zeros, not noise or NaN."""
    x, _ = blobs(100, dims=5)
    x = np.concatenate([x, x[:, :2], np.ones((100, 2), np.float32)], 1)  # rank 5 of 9 dimensions
    whole = preprocess_features(x, 9)
    assert np.isfinite(whole).all() and not whole[:, 5:].any()
    monkeypatch.setattr('mmssl.utils.clustering._ROWS', 7)
    np.testing.assert_allclose(preprocess_features(x, 9), whole, atol=1e-5)
    assert not preprocess_features(np.ones((8, 3), np.float16), 2).any()


def test_without_pca_rows_get_unit_length():
    x = np.array([[3, 4], [0, 0], [1e-3, 0]], np.float16)
    np.testing.assert_allclose(preprocess_features(x, -1), [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-3)


@pytest.mark.parametrize('x, pca, message', [
    (np.ones((10, 4)), 5, r'1 to 4, for 10 samples of 4 dimensions; got 5'),
    (np.ones((3, 4)), 4, r'1 to 3, for 3 samples of 4 dimensions; got 4'),
    (np.ones((3, 4)), 0, 'got 0'),
    (np.where(np.arange(40).reshape(10, 4) == 22, np.nan, 1.), 2, r'1 of 10 features hold NaN .* rows \[5\]'),
    (np.full((10, 4), np.inf), -1, r'10 of 10 .* rows \[0, 1, 2, 3, 4\] and more'),
    (np.ones(4), -1, r'shape \(4,\)'),
    (np.ones((0, 4)), -1, r'shape \(0, 4\)'),
])
def test_features_that_cannot_be_used(x, pca, message):
    """NaN features, fewer samples than components."""
    with pytest.raises(ValueError, match=message):
        preprocess_features(x, pca)


@pytest.mark.parametrize('n', [300, 4000])
def test_kmeans_finds_blobs(n):
    """All samples count in the loss: faiss would take 256 of each cluster only."""
    x, labels = blobs(n)
    kmeans = Kmeans(6, pca_dim=5)
    loss = kmeans.cluster(x, verbose=True)
    assert kmeans.labels.dtype == np.int64 and kmeans.labels.shape == (n, )
    assert normalized_mutual_information(kmeans.labels, labels) == pytest.approx(1)
    y = preprocess_features(x, 5).astype(np.float64)
    expected = sum(((y[labels == c] - y[labels == c].mean(0))**2).sum() for c in range(6))
    assert loss == pytest.approx(expected, rel=1e-3)


def test_kmeans_is_as_good_as_scikit_learn_and_repeatable(digits):
    x = preprocess_features(digits, 20)
    labels, loss = run_kmeans(x, 15)
    others = [SklearnKMeans(15, init='random', n_init=1, random_state=s, max_iter=20).fit(x).inertia_ for s in range(5)]
    assert loss < 1.03 * np.mean(others)
    again, same_loss = run_kmeans(x, 15)
    assert np.array_equal(again, labels) and same_loss == loss
    assert not np.array_equal(run_kmeans(x, 15, seed=1)[0], labels)


def test_kmeans_with_repeated_samples_leaves_clusters_empty():
    x = np.repeat(np.eye(5, dtype=np.float32), 20, 0)
    kmeans = Kmeans(8, pca_dim=-1)
    loss = kmeans.cluster(x)
    assert loss < 1e-3
    assert len(np.unique(kmeans.labels)) == 5 and kmeans.labels.max() < 8
    assert (kmeans.labels.reshape(5, 20) == kmeans.labels[::20, None]).all()


def test_clusterings_that_cannot_be():
    x, _ = blobs(20)
    assert len(np.unique(run_kmeans(x, 20)[0])) == 20
    with pytest.raises(ValueError, match='20 samples cannot make k=21 clusters'):
        Kmeans(21, pca_dim=-1).cluster(x)
    with pytest.raises(ValueError, match='positive integer, got 0'):
        Kmeans(0, pca_dim=-1).cluster(x)
    with pytest.raises(ValueError, match='1 to 19 neighbours for 20 samples, got 20'):
        PIC(nnn=20, pca_dim=-1).cluster(x)
    with pytest.raises(ValueError, match="did you mean 'pca_dim'"):
        CLUSTERINGS.build(dict(type='Kmeans', k=3, pca_dims=4))
    with pytest.raises(ValueError, match="did you mean 'Kmeans'"):
        CLUSTERINGS.build(dict(type='KMean', k=3))


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(ImportError, match='pip install faiss-gpu where there is a GPU, faiss-cpu elsewhere'):
        Kmeans(2, pca_dim=-1).cluster(blobs()[0])


def naive_pic(x, nnn, sigma, alpha):
    """Power iteration clustering with loops: graph, iterations, climbing, and singletons put to neighbours."""
    n = len(x)
    distances = ((x[:, None].astype(np.float64) - x)**2).sum(2)
    order = [[j for j in np.argsort(distances[i], kind='stable') if j != i][:nnn] for i in range(n)]
    edges = np.zeros((n, n))
    for i in range(n):
        for j in order[i]:
            edges[i, j] = np.exp(-distances[i, j] / sigma**2)
    graph = edges + edges.T
    v = np.ones(n) / n
    for _ in range(200):
        v = alpha * graph.T @ v + (1 - alpha) / n
        v /= v.sum()
    top = []
    for i in range(n):
        while True:
            gains = [graph[i, j] * (v[j] - v[i]) for j in range(n)]
            if max(gains) <= 0:
                break
            i = int(np.argmax(gains))
        top.append(i)
    alone = [i for i in range(n) if top.count(top[i]) == 1]
    spread = list(top)
    for i in alone:
        for j in order[i]:
            if top.count(top[j]) > 1:
                spread[i] = top[j]
                break
    return top, spread


def same_partition(a, b):
    return normalized_mutual_info_score(a, b) > 1 - 1e-12


@pytest.mark.parametrize('nnn, sigma', [(3, 0.2), (5, 0.5)])
def test_pic_equals_loops(nnn, sigma):
    x = preprocess_features(blobs(120, seed=2)[0], -1)
    ids, distances = make_graph(x, nnn)
    top, spread = naive_pic(x, nnn, sigma, 0.001)
    assert same_partition(run_pic(ids, distances, sigma, 0.001), top)
    pic = PIC(nnn=nnn, sigma=sigma, pca_dim=-1)
    assert pic.cluster(x, verbose=True) == 0
    assert same_partition(pic.labels, spread)
    plain = PIC(nnn=nnn, sigma=sigma, pca_dim=-1, distribute_singletons=False)
    plain.cluster(x)
    assert same_partition(plain.labels, top)
    assert set(plain.labels) == set(range(len(set(top))))


def test_pic_finds_blobs():
    """Pitfall: PIC never sets its labels. Here each is set, clusters are pure, none is empty or a single sample."""
    x, labels = blobs()
    pic = PIC(pca_dim=5)
    pic.cluster(x)
    sizes = np.bincount(pic.labels)
    assert pic.labels.dtype == np.int64 and pic.labels.shape == (300, ) and sizes.min() > 1
    assert all(len(np.unique(labels[pic.labels == c])) == 1 for c in range(len(sizes)))
    # with all others of a blob as neighbours there is one maximum in each
    wide = PIC(nnn=30, sigma=1, pca_dim=-1)
    wide.cluster(x)
    assert same_partition(wide.labels, labels)


def test_graph_of_repeated_samples():
    """A sample is no neighbour of its own, although its copies may stand before it or push it out of the list."""
    ids, distances = make_graph(np.repeat(np.eye(3, dtype=np.float32), 10, 0), 4)
    assert ids.shape == distances.shape == (30, 5)
    assert not (ids == np.arange(30)[:, None]).any(1).all()  # this does happen
    W = make_adjacencyW(ids, distances, 0.2)
    assert (np.diff(W.indptr) == 4).all() and not W.diagonal().any() and (W.data == 1).all()
    assert find_maxima_cluster(W, np.arange(30.)).max() < 29


@pytest.mark.parametrize('seed', range(3))
def test_normalized_mutual_information(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(7, size=200), rng.integers(5, size=200) * 3
    b[:100] = a[:100]
    expected = normalized_mutual_info_score(a, b, average_method='geometric')
    assert normalized_mutual_information(a, b) == pytest.approx(expected, abs=1e-12)
    assert normalized_mutual_information(a, (a + 3) % 7) == pytest.approx(1)
    assert normalized_mutual_information(np.zeros(9), np.zeros(9)) == 1
    assert normalized_mutual_information(np.zeros(200), a) == 0


def test_gpu_memory_that_torch_keeps_is_given_to_faiss(monkeypatch):
    """On a GPU, by stand-ins: torch returns what it has cached before faiss, which has its own allocator, asks."""
    order = []

    class Faiss:
        GpuIndexFlatConfig = SimpleNamespace

        @staticmethod
        def get_num_gpus():
            return 1

        @staticmethod
        def StandardGpuResources():
            order.append('faiss takes memory')

        @staticmethod
        def GpuIndexFlatL2(resources, dims, config):
            return SimpleNamespace(dims=dims, device=config.device)

    monkeypatch.setitem(sys.modules, 'faiss', Faiss)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 3)
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: order.append('torch gives memory back'))
    index = clustering._exact_index(7)
    assert (index.dims, index.device) == (7, 3)
    assert order == ['torch gives memory back', 'faiss takes memory']


def test_iterations_of_kmeans(digits):
    """ClusterFit takes 50 where DeepCluster takes 20; the loss never rises on the way."""
    _, centres, losses = clustering.faiss_kmeans(digits, 30, 7)
    assert len(losses) == 7 and losses == sorted(losses, reverse=True) and centres.shape == (30, 64)
    kmeans = CLUSTERINGS.build(dict(type='Kmeans', k=30, pca_dim=-1, iterations=1))
    once = kmeans.cluster(digits)
    kmeans.iterations = 30
    assert kmeans.cluster(digits) < once
    with pytest.raises(ValueError, match='a positive number of iterations, got 0'):
        run_kmeans(digits, 9, iterations=0)
