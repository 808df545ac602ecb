# Copyright (c) mmssl contributors. All rights reserved.
"""k-means of features that are spread over processes: no process needs all of them."""
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .dist import all_reduce_sum, gather_variable, get_rank
from .splitmix import GOLDEN, mix

_SCORES = 2**20  # similarities to centroids that are held at once: what a cache holds; more on a GPU
_SCORES_GPU = 2**26


@dataclass
class Clusters:
    """What k-means finds.

    Attributes:
        labels (Tensor): Cluster of each row of this process, N int64, on the features' device.
        centroids (Tensor): K x D float32, the same on all processes, on the device that computed.
        sizes (Tensor): Rows in each cluster over all processes, K int64.
        losses (list[float]): Sum of squared distances of all rows to their centroids, before each update and at the
            end: iterations + 1 numbers.
    """
    labels: torch.Tensor
    centroids: torch.Tensor
    sizes: torch.Tensor
    losses: list


@torch.no_grad()
def distributed_kmeans(features,
                       k,
                       iterations=10,
                       *,
                       spherical=False,
                       index=None,
                       seed=0,
                       reseed_empty=False,
                       device=None):
    """k-means over the rows of all processes.

    The first centroids are k rows that depend on `seed` and the numbers in `index` alone. Each iteration then finds the
    nearest centroid of each row and moves each centroid to the mean of its rows, which needs sums of K x D over
    processes and nothing else. Sums are taken in float64. So the same rows make the same clusters however they are
    spread, but for rows that are equally far from two centroids to float32 precision.

    Args:
        features (Tensor): The rows of this process, N x D, on any device; there may be less than k, or none.
        k (int): Number of clusters.
        iterations (int): Updates of the centroids.
        spherical (bool): Cluster by cosine similarity: rows count by their directions, and centroids have unit length.
            Else by squared distance.
        index (Tensor, optional): A number for each row, N int64, unique over all processes, such as that of the sample
            in its data set. By default rows count on from process to process.
        seed (int): Of the first centroids.
        reseed_empty (bool): Move the centroid of a cluster without rows to one of the rows that are farthest from
            theirs. Else it stays where it is and may find rows later.
        device (torch.device | str, optional): Where to compute; by default where the features are.

    Returns:
        Clusters: `labels` are those of this process's rows.

    Raises:
        ValueError: On all processes: fewer rows than clusters in total, or features with NaN or infinity.
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f'the number of clusters must be a positive integer, got {k!r}')
    if not isinstance(iterations, int) or iterations < 0:
        raise ValueError(f'the number of iterations must be an integer from 0 on, got {iterations!r}')
    if features.dim() != 2:
        raise ValueError(f'features are N x D numbers, got the shape {tuple(features.shape)}')
    rows = _Rows(features, k, spherical, torch.device(device or features.device))
    if index is None:
        before = sum(rows.counts[:get_rank()])
        index = torch.arange(before, before + len(features))
    keys = _random_order(index.to(rows.device), seed)
    if rows.total < k:
        raise ValueError(f'{rows.total} samples cannot make {k} clusters: set a smaller number of clusters')
    rows.check_finite()
    rows.centre()

    centroids = rows.take(keys, k)
    labels, distances, losses = *rows.assign(centroids), []
    for _ in range(iterations):
        losses.append(rows.sum(distances))
        sums, sizes = rows.sum_clusters(labels, k)
        means = sums / sizes[:, None]
        means = F.normalize(means, dim=1) if spherical else means
        moves = means.norm(dim=1) > 0 if spherical else sizes > 0  # directions that cancel out have no mean
        centroids = torch.where(moves[:, None], means.float(), centroids)
        empty = (sizes == 0).nonzero()[:, 0] if reseed_empty else ()
        if len(empty):
            # the farthest first: as integers, the bits of floats from 0 on are in the order of the floats
            far = distances.view(torch.int32).long().bitwise_not() << 32 | keys & 0xffffffff
            centroids[empty] = rows.take(far, len(empty))
        labels, distances = rows.assign(centroids)
    losses.append(rows.sum(distances))
    return Clusters(
        labels.to(features.device), rows.outside(centroids), _sizes(labels, k),
        torch.stack(losses).tolist())


def _sizes(labels, k):
    """Rows in each cluster over all processes, without the wait for the device of torch.bincount."""
    return all_reduce_sum(labels.new_zeros(k).index_add_(0, labels, torch.ones_like(labels)))


def _piece(k, dims, device):
    """Rows that are compared with k centroids at once, and widened to float64 where there are few of these."""
    return max(1, (_SCORES_GPU if device.type == 'cuda' else _SCORES) // max(k, dims))


class _Rows:
    """The rows of this process, seen in pieces on the device that computes."""

    def __init__(self, features, k, spherical, device):
        self.features = features
        self.spherical = spherical
        self.device = device
        self.counts = [int(n) for n in torch.cat(gather_variable(torch.tensor([len(features)], device=device)))]
        self.total = sum(self.counts)
        self.step = _piece(k, features.shape[1], device)
        self.mean = None

    def pieces(self):
        """First row and rows, n x D float32, of each piece."""
        for first in range(0, len(self.features), self.step):
            yield first, self.inside(self.features[first:first + self.step])

    def inside(self, rows):
        """Rows as they are clustered: of unit length, or relative to the mean, which keeps float32 precise."""
        rows = rows.to(self.device, torch.float32)
        if self.spherical:
            return F.normalize(rows, dim=1)
        return rows if self.mean is None else rows - self.mean

    def outside(self, centroids):
        """Centroids where the features are."""
        return centroids if self.spherical else centroids + self.mean

    def sum(self, values):
        return all_reduce_sum(values.double().sum())

    def check_finite(self):
        bad = sum(((~piece.isfinite()).any(1).sum() for _, piece in self.pieces()), torch.zeros((), device=self.device))
        bad = int(all_reduce_sum(bad))
        if bad:
            raise ValueError(f'{bad} of {self.total} features hold NaN or infinity: has the training diverged?')

    def centre(self):
        if not self.spherical:
            total = self.features.new_zeros(self.features.shape[1], dtype=torch.float64, device=self.device)
            for _, piece in self.pieces():
                total += piece.sum(0, dtype=torch.float64)
            self.mean = (all_reduce_sum(total) / self.total).float()

    def take(self, keys, number):
        """The rows with the smallest keys over all processes, in the order of the keys; on all processes."""
        own, places = keys.topk(min(number, len(keys)), largest=False)
        gathered = gather_variable(own)
        first = sum(map(len, gathered[:get_rank()]))
        # how many keys are smaller, for each of this process
        position = torch.cat(gathered).argsort(stable=True).argsort()[first:first + len(own)]
        chosen = position < number
        taken = torch.zeros(number, self.features.shape[1], device=self.device)
        taken[position[chosen]] = self.inside(self.features[places[chosen].to(self.features.device)])
        return all_reduce_sum(taken)

    def assign(self, centroids):
        """Nearest centroid of each row, and the squared distance to it."""
        labels = torch.empty(len(self.features), dtype=torch.int64, device=self.device)
        distances = torch.empty(len(self.features), device=self.device)
        half = centroids.square().sum(1) / 2
        for first, piece in self.pieces():
            # of |x - c|^2 / 2 what depends on the centroid, with the other sign
            best, nearest = torch.addmm(-half, piece, centroids.T).max(1)
            labels[first:first + len(piece)] = nearest
            distances[first:first + len(piece)] = (piece.square().sum(1) - 2 * best).clamp_(min=0)
        return labels, distances

    def sum_clusters(self, labels, k):
        """Sums of the rows in each cluster over all processes, K x D float64, and their numbers, K."""
        sums = torch.zeros(k, self.features.shape[1], dtype=torch.float64, device=self.device)
        for first, piece in self.pieces():
            sums.index_add_(0, labels[first:first + len(piece)], piece.double())
        return all_reduce_sum(sums), _sizes(labels, k)


def _random_order(index, seed):
    """A number for each index that says where it comes in a random order."""
    return mix(index + (seed + 1) * GOLDEN % 2**64 - 2**63)


def nearest_centroids(features, centroids, device=None):
    """The nearest centroid of each row by squared distance.

    Args:
        features (Tensor): N x D.
        centroids (Tensor): K x D.
        device (torch.device | str, optional): Where to compute; by default where the features are.

    Returns:
        Tensor: N int64, on the features' device.

    Raises:
        ValueError: Rows of another dimension than the centroids.
    """
    if features.shape[1] != centroids.shape[1]:
        raise ValueError(f'features have {features.shape[1]} dimensions, the centroids {centroids.shape[1]}')
    device = torch.device(device or features.device)
    centroids = centroids.to(device, torch.float32)
    mean = centroids.mean(0)
    half = (centroids - mean).square().sum(1) / 2
    found = [
        torch.addmm(-half,
                    piece.to(device, torch.float32) - mean, (centroids - mean).T).max(1).indices
        for piece in features.split(_piece(*centroids.shape, device))
    ]
    return torch.cat(found).to(features.device)
