# Copyright (c) mmssl contributors. All rights reserved.
"""Clustering of features: k-means (faiss) and power iteration clustering, as DeepCluster uses them.

The methods are those of Caron et al., 2018 <https://arxiv.org/abs/1807.05520>. Everything is deterministic.
"""
import numpy as np
import torch

from .errors import ConfigError
from .logger import get_root_logger
from .registry import Registry

CLUSTERINGS = Registry('clustering')
_ROWS = 16384  # rows that are widened or centred at once


def _chunks(x):
    return (x[first:first + _ROWS] for first in range(0, len(x), _ROWS))


def preprocess_features(npdata, pca):
    """Whitened principal components of features, each row then scaled to unit length.

    Args:
        npdata (ndarray): N x D.
        pca (int): Number of components, at most D; -1 keeps the features as they are but for their length.
            Directions in which the features do not vary become 0 instead of noise of unit variance.

    Returns:
        ndarray: N x pca (or N x D), float32.

    Raises:
        ValueError: NaN or infinity in the features, or more components than samples or dimensions.
    """
    x = np.asarray(npdata)
    if x.ndim != 2 or not x.size:
        raise ValueError(f'features are an array of N x D numbers, got the shape {x.shape}')
    bad = np.flatnonzero(np.concatenate([~np.isfinite(chunk).all(1) for chunk in _chunks(x)]))
    if len(bad):
        raise ValueError(f'{len(bad)} of {len(x)} features hold NaN or infinity, rows {bad[:5].tolist()}'
                         f'{" and more" if len(bad) > 5 else ""}: has the training diverged?')
    x = x.astype(np.float32, copy=False) if pca == -1 else _whiten(x, pca)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _whiten(x, dims):
    """First `dims` principal components of x (N x D), each of unit variance."""
    n, d = x.shape
    if not 0 < dims <= min(n, d):
        raise ConfigError(f'pca_dim must be -1 (no PCA) or 1 to {min(n, d)}, for {n} samples of {d} dimensions; '
                          f'got {dims!r}')
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    covariance = np.zeros((d, d))
    for chunk in _chunks(x):
        chunk = chunk - mean
        covariance += chunk.T @ chunk / n
    variances, directions = np.linalg.eigh(covariance)  # from the smallest on
    variances, directions = variances[::-1][:dims], directions[:, ::-1][:, :dims]
    varies = variances > max(variances[0], 0) * d * np.finfo(np.float32).eps
    scale = np.where(varies, variances, np.inf)**-0.5
    projection = (directions * scale).astype(np.float32)  # D x dims
    return np.concatenate([(chunk - mean) @ projection for chunk in _chunks(x)])


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f'clustering needs faiss ({error}): pip install faiss-gpu where there is a GPU, faiss-cpu '
                          'elsewhere') from error
    return faiss


def use_threads(number):
    """Have torch and faiss compute with this many threads on the CPU."""
    torch.set_num_threads(number)
    _faiss().omp_set_num_threads(number)


def _exact_index(dims):
    """A faiss index of exact squared L2 distances, on this process's GPU where faiss can use it."""
    faiss = _faiss()
    if not torch.cuda.is_available() or not faiss.get_num_gpus():
        return faiss.IndexFlatL2(dims)
    # torch keeps the memory of what it has freed, and faiss, which allocates on its own, would find none
    torch.cuda.empty_cache()
    config, resources = faiss.GpuIndexFlatConfig(), faiss.StandardGpuResources()
    config.device = torch.cuda.current_device()
    index = faiss.GpuIndexFlatL2(resources, dims, config)
    index.resources = resources  # they must live as long as the index
    return index


def faiss_kmeans(x, nmb_clusters, iterations=20, seed=0):
    """k-means over all samples, from random samples; a cluster that falls empty takes half of another.

    Args:
        x (ndarray): N x D.
        nmb_clusters (int): Number of clusters.
        iterations (int): Updates of the centres.
        seed (int): Of the choice of the first centres.

    Returns:
        tuple[ndarray, ndarray, list[float]]: Cluster of each sample (N int64; with repeated samples some clusters may
        stay empty), the centres (nmb_clusters x D float32), and the sum of squared distances to them in each
        iteration.

    Raises:
        ValueError: Fewer samples than clusters, or no iteration.
    """
    if not isinstance(nmb_clusters, int) or nmb_clusters < 1:
        raise ValueError(f'the number of clusters must be a positive integer, got {nmb_clusters!r}')
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f'k-means needs a positive number of iterations, got {iterations!r}')
    n, d = x.shape
    if n < nmb_clusters:
        raise ValueError(f'{n} samples cannot make k={nmb_clusters} clusters: a smaller k, or more samples')
    faiss = _faiss()
    x = np.ascontiguousarray(x, np.float32)
    kmeans = faiss.Clustering(d, nmb_clusters)
    kmeans.niter = iterations
    kmeans.seed = seed
    kmeans.max_points_per_centroid = n  # all samples take part, however unequal the clusters
    kmeans.min_points_per_centroid = 1  # no warning about few samples
    index = _exact_index(d)
    kmeans.train(x, index)
    labels = index.search(x, 1)[1][:, 0].astype(np.int64, copy=False)
    losses = [kmeans.iteration_stats.at(i).obj for i in range(kmeans.iteration_stats.size())]
    return labels, faiss.vector_to_array(kmeans.centroids).reshape(nmb_clusters, d), losses


def run_kmeans(x, nmb_clusters, verbose=False, seed=0, iterations=20):
    """k-means by `faiss_kmeans`, in the form of MMSelfSup.

    Args:
        x (ndarray): N x D.
        nmb_clusters (int): Number of clusters.
        verbose (bool): Log the loss.
        seed (int): Of the choice of the first centres.
        iterations (int): Updates of the centres.

    Returns:
        tuple[ndarray, float]: Cluster of each sample, and the sum of squared distances to the centres in the last
        iteration.

    Raises:
        ValueError: Fewer samples than clusters, or no iteration.
    """
    labels, _, losses = faiss_kmeans(x, nmb_clusters, iterations, seed)
    if verbose:
        get_root_logger().info(
            'k-means of %d samples to %d clusters: loss %.6g after %.6g in the first of %d iterations', len(x),
            nmb_clusters, losses[-1], losses[0], len(losses))
    return labels, losses[-1]


@CLUSTERINGS.register_module()
class Kmeans:
    """k-means on whitened principal components of unit length.

    Args:
        k (int): Number of clusters.
        pca_dim (int): Number of components; -1 for no PCA.
        seed (int): Of the choice of the first centres.
        iterations (int): Updates of the centres.

    Attributes:
        labels (ndarray): Cluster of each sample, N int64 in 0..k - 1, after `cluster`.
    """

    def __init__(self, k, pca_dim=256, seed=0, iterations=20):
        self.k = k
        self.pca_dim = pca_dim
        self.seed = seed
        self.iterations = iterations

    def cluster(self, feat, verbose=False):
        """Cluster features.

        Args:
            feat (ndarray): N x D.
            verbose (bool): Log the loss.

        Returns:
            float: Sum of squared distances to the centres.

        Raises:
            ValueError: Fewer samples than clusters, or see preprocess_features.
        """
        self.labels, loss = run_kmeans(
            preprocess_features(feat, self.pca_dim), self.k, verbose, self.seed, self.iterations)
        return loss


def make_graph(xb, nnn):
    """Nearest neighbours of each sample.

    Args:
        xb (ndarray): N x D, float32.
        nnn (int): Number of neighbours besides the sample itself.

    Returns:
        tuple[ndarray, ndarray]: Indices and squared distances, N x (nnn + 1) each, nearest first. Of a sample that is
        there twice, either may come first.

    Raises:
        ValueError: Fewer than nnn + 1 samples.
    """
    if not 0 < nnn < len(xb):
        raise ValueError(f'nnn must be 1 to {len(xb) - 1} neighbours for {len(xb)} samples, got {nnn!r}')
    index = _exact_index(xb.shape[1])
    index.add(np.ascontiguousarray(xb, np.float32))
    distances, ids = index.search(np.ascontiguousarray(xb, np.float32), nnn + 1)
    return ids, distances


def make_adjacencyW(ids, distances, sigma):
    """Weights exp(-squared distance / sigma^2) of the edges from each sample to its neighbours.

    Args:
        ids (ndarray): N x (k + 1), as of make_graph.
        distances (ndarray): N x (k + 1), as of make_graph.
        sigma (float): Bandwidth.

    Returns:
        scipy.sparse.csr_matrix: N x N with k entries a row, none of them on the diagonal.
    """
    from scipy.sparse import csr_matrix
    n, columns = ids.shape
    itself = ids == np.arange(n)[:, None]
    itself[~itself.any(1), -1] = True  # lost among many copies of itself: the farthest goes instead
    weights = np.exp(-distances[~itself].astype(np.float64) / sigma**2)
    return csr_matrix((weights, ids[~itself], np.arange(n + 1) * (columns - 1)), shape=(n, n))


def run_pic(ids, distances, sigma, alpha):
    """Power iteration clustering on the graph of neighbours (Douze et al., 2018, https://arxiv.org/abs/1706.02332).

    A vector is spread over the graph until it settles; each local maximum of it is the core of a cluster.

    Args:
        ids (ndarray): N x (k + 1), as of make_graph.
        distances (ndarray): N x (k + 1), as of make_graph.
        sigma (float): Bandwidth of the weights.
        alpha (float): Share that is spread in each iteration; the rest is uniform.

    Returns:
        ndarray: Cluster of each sample, N int64.
    """
    edges = make_adjacencyW(ids, distances, sigma)
    graph = (edges + edges.T).tocsr()
    n = len(ids)
    v = np.full(n, 1 / n)
    for _ in range(200):
        v = alpha * (graph @ v) + (1 - alpha) / n  # the graph is symmetric
        v /= v.sum()
    return find_maxima_cluster(graph, v)


def find_maxima_cluster(W, v):
    """Let each node climb along its steepest edge to a local maximum of v; nodes of one maximum are a cluster.

    Args:
        W (scipy.sparse.csr_matrix): Weights of the edges, N x N.
        v (ndarray): Value of each node, N.

    Returns:
        ndarray: Cluster of each node, N int64 from 0 on.
    """
    n = len(v)
    nodes = np.repeat(np.arange(n), np.diff(W.indptr))
    gains = W.data * (v[W.indices] - v[nodes])
    up = np.arange(n)
    climbing = np.flatnonzero(gains > 0)
    # by node, and by gain within it: the last edge of each node is its steepest (stable, thus deterministic)
    climbing = climbing[np.lexsort((gains[climbing], nodes[climbing]))]
    up[nodes[climbing]] = W.indices[climbing]
    while not np.array_equal(up, up[up]):  # v grows along the way, so that there are no cycles
        up = up[up]
    return np.unique(up, return_inverse=True)[1].astype(np.int64)


@CLUSTERINGS.register_module()
class PIC:
    """Power iteration clustering on whitened principal components; it finds the number of clusters itself.

    Args:
        args: Not used, for old calls.
        sigma (float): Bandwidth of the weights between neighbours.
        nnn (int): Number of neighbours in the graph.
        alpha (float): Share of each iteration that is spread over the graph.
        distribute_singletons (bool): Put a sample that is a cluster by itself into that of its nearest neighbour in a
            larger one, where there is one.
        pca_dim (int): Number of principal components; -1 for no PCA.

    Attributes:
        labels (ndarray): Cluster of each sample, N int64 from 0 on, none empty, after `cluster`.
    """

    def __init__(self, args=None, sigma=0.2, nnn=5, alpha=0.001, distribute_singletons=True, pca_dim=256):
        self.sigma = sigma
        self.nnn = nnn
        self.alpha = alpha
        self.distribute_singletons = distribute_singletons
        self.pca_dim = pca_dim

    def cluster(self, data, verbose=False):
        """Cluster features.

        Args:
            data (ndarray): N x D.
            verbose (bool): Log the number of clusters.

        Returns:
            int: 0, since nothing is minimised.

        Raises:
            ValueError: Fewer samples than neighbours, or see preprocess_features.
        """
        ids, distances = make_graph(preprocess_features(data, self.pca_dim), self.nnn)
        labels = run_pic(ids, distances, self.sigma, self.alpha)
        if self.distribute_singletons:
            sizes = np.bincount(labels)
            alone = np.flatnonzero(sizes[labels] == 1)
            joinable = sizes[labels[ids[alone]]] > 1  # the sample itself is not
            nearest = ids[alone, joinable.argmax(1)]
            labels[alone[joinable.any(1)]] = labels[nearest[joinable.any(1)]]
        self.labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        if verbose:
            get_root_logger().info('power iteration clustering of %d samples: %d clusters', len(data),
                                   self.labels.max() + 1)
        return 0


def size_statistics(sizes):
    """What logs say of the sizes of clusters.

    Args:
        sizes (ndarray): Samples of each cluster, K integers.

    Returns:
        dict[str, int]: `clusters_empty` (their number), `clusters_min` and `clusters_max` (sizes of the smallest that
        is not empty and of the largest).
    """
    return dict(
        clusters_empty=int((sizes == 0).sum()), clusters_min=int(sizes[sizes > 0].min()), clusters_max=int(sizes.max()))


def normalized_mutual_information(a, b):
    """How much two clusterings of the same samples agree: I(a; b) / sqrt(H(a) H(b)), as in the DeepCluster paper.

    Args:
        a (ndarray): N integers.
        b (ndarray): N integers.

    Returns:
        float: 0 (independent) to 1 (the same but for the names of the clusters).
    """
    a, b = (np.unique(labels, return_inverse=True)[1] for labels in (a, b))

    def entropy(labels):
        shares = np.unique(labels, return_counts=True)[1] / len(labels)
        return -(shares * np.log(shares)).sum()

    entropy_a, entropy_b = entropy(a), entropy(b)
    if not entropy_a or not entropy_b:
        return float(entropy_a == entropy_b)
    mutual = entropy_a + entropy_b - entropy(a * (b.max() + 1) + b)
    return float(np.clip(mutual / np.sqrt(entropy_a * entropy_b), 0, 1))
