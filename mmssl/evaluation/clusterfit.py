# Copyright (c) mmssl contributors. All rights reserved.
"""Clusters of frozen features as labels to train on (ClusterFit, https://arxiv.org/abs/1912.03330)."""
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from mmssl.utils.clustering import faiss_kmeans
from mmssl.utils.dist import (all_gather_object, all_reduce_sum, broadcast_object, default_device, gather_variable,
                              get_rank)
from mmssl.utils.errors import ConfigError
from mmssl.utils.kmeans import distributed_kmeans, nearest_centroids

_ROWS = 16384  # rows that are projected at once


@dataclass
class FeatureClusters:
    """Clusters of features, and what finds the cluster of others.

    Attributes:
        labels (ndarray): Cluster of each row of this process, n int64.
        centroids (ndarray): K x D float32, of the features as `prepare` makes them.
        sizes (ndarray): Rows in each cluster over all processes, K int64.
        losses (list[float]): Mean squared distance of the rows to their centroids, before each iteration and at the
            end; of faiss, in each iteration.
        mean (ndarray | None): Of the features of unit length, where components were taken.
        axes (ndarray | None): Directions of the principal components, dimensions x D.
    """
    labels: np.ndarray
    centroids: np.ndarray
    sizes: np.ndarray
    losses: list
    mean: np.ndarray | None = None
    axes: np.ndarray | None = None

    def prepare(self, features):
        """Features (n x dimensions) as they were clustered: of unit length, and where asked for their components."""
        return _prepare(features, self.mean, self.axes)

    def nearest(self, features, device=None):
        """ndarray: The cluster of each of other features (n x dimensions), n int64."""
        x, centroids = torch.from_numpy(self.prepare(features)), torch.from_numpy(self.centroids)
        return nearest_centroids(x, centroids, device).numpy()


def _prepare(features, mean=None, axes=None):
    width = int(np.prod(features.shape[1:])) if axes is None else axes.shape[1]
    prepared = np.empty((len(features), width), np.float32)  # of no rows too
    for first in range(0, len(features), _ROWS):
        x = torch.from_numpy(np.array(features[first:first + _ROWS], np.float32)).flatten(1)
        x = F.normalize(x, dim=1)
        x = x if axes is None else (x - torch.from_numpy(mean)) @ torch.from_numpy(axes)
        prepared[first:first + _ROWS] = x.numpy()
    return prepared


def _collect(x, index, device):
    """All rows in the order of their numbers, and these, in the first process; nothing in the others."""
    rows, numbers = [], []
    for first in range(0, max(all_gather_object(len(x))), _ROWS):
        part = slice(first, first + _ROWS)
        # block by block, so that the others need not hold all of them
        blocks = [gather_variable(torch.from_numpy(values[part]).to(device)) for values in (x, index)]
        if get_rank() == 0:
            rows += [block.cpu().numpy() for block in blocks[0]]
            numbers += [block.cpu().numpy() for block in blocks[1]]
    if get_rank():
        return None, None
    numbers = np.concatenate(numbers)
    order = numbers.argsort()
    return np.concatenate(rows)[order], numbers[order]


def _principal_axes(x, dims, device):
    """Mean of the rows (n x D) of all processes, and the `dims` directions in which they vary most, D x dims."""
    d = x.shape[1]
    total = int(all_reduce_sum(torch.tensor(len(x), device=device)))
    if not 0 < dims <= min(total, d):
        raise ConfigError(f'--pca takes 1 to {min(total, d)} components, for {total} samples of {d} dimensions; got '
                          f'{dims}')
    mean = all_reduce_sum(torch.from_numpy(x.sum(0, dtype=np.float64)).to(device)).div(total).float()
    covariance = torch.zeros(d, d, dtype=torch.float64, device=device)
    for piece in torch.from_numpy(x).split(_ROWS):
        centred = piece.to(device) - mean
        covariance += (centred.T @ centred).double()
    # from the least variance on; on the CPU, where all processes get the same
    directions = torch.linalg.eigh(all_reduce_sum(covariance).cpu()).eigenvectors
    return mean.cpu().numpy(), directions[:, -dims:].flip(1).float().contiguous().numpy()


def run(features, index, num_clusters, iterations=50, pca_dim=None, backend='torch', seed=0, device=None):
    """k-means of features of unit length by squared distance.

    Args:
        features (ndarray): Rows of this process, n x dimensions.
        index (ndarray): Numbers of their samples, n int64, which differ over all processes.
        num_clusters (int): Number of clusters.
        iterations (int): Of k-means.
        pca_dim (int, optional): Cluster so many principal components, which are not whitened.
        backend (str): 'torch' shares the work over processes and moves clusters that fall empty to the rows farthest
            from their centroids; 'faiss' works in the first process, which gets all rows.
        seed (int): Of the first centroids.
        device (torch.device | str, optional): Where to compute; by default that of this process.

    Returns:
        FeatureClusters: `labels` are those of this process's rows.

    Raises:
        ValueError: Fewer rows than clusters, NaN or infinity, more components than dimensions, an unknown backend.
    """
    if backend not in ('torch', 'faiss'):
        raise ConfigError(f"the backend of k-means is 'torch' or 'faiss', got {backend!r}")
    device, index = device or default_device(), np.asarray(index)
    x, mean, axes = _prepare(features), None, None
    if pca_dim is not None:
        mean, axes = _principal_axes(x, pca_dim, device)
        x = (x - mean) @ axes
    if backend == 'torch':
        found = distributed_kmeans(
            torch.from_numpy(x),
            num_clusters,
            iterations,
            index=torch.from_numpy(index),
            seed=seed,
            reseed_empty=True,
            device=device)
        labels, centroids, losses = found.labels.numpy(), found.centroids.cpu().numpy(), found.losses
        sizes = found.sizes.cpu().numpy()
    else:
        rows, numbers = _collect(x, index, device)
        error = found = None
        if get_rank() == 0:
            try:
                found = (numbers, *faiss_kmeans(rows, num_clusters, iterations, seed))
            except ValueError as e:  # the other processes must not wait for clusters that never come
                error = e
        found, message = broadcast_object((found, error and str(error)), patient=True)
        if message:
            raise error or ValueError(message)
        numbers, all_labels, centroids, losses = found
        labels = all_labels[np.searchsorted(numbers, index)]
        sizes = np.bincount(all_labels, minlength=num_clusters)
    rows = int(sizes.sum())
    return FeatureClusters(labels, centroids, sizes, [loss / rows for loss in losses], mean, axes)
