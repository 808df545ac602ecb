# Copyright (c) mmssl contributors. All rights reserved.
"""How fast is k-means: distributed_kmeans against the straightforward form and faiss, on the same noise."""
import time

import torch
from torch.nn import functional as F

from mmssl.utils.clustering import faiss_kmeans
from mmssl.utils.dist import default_device, get_rank, get_world_size
from mmssl.utils.kmeans import distributed_kmeans


def plain_kmeans(x, centroids, iterations):
    """k-means by the book: all distances at once, and a loop over clusters for their means.

    Args:
        x (Tensor): N x D.
        centroids (Tensor): The first ones, K x D.
        iterations (int): Updates of the centroids.

    Returns:
        tuple[Tensor, float]: Cluster of each row, and the sum of squared distances to the centroids.
    """
    centroids = centroids.clone()
    for _ in range(iterations):
        labels = torch.cdist(x, centroids).argmin(1)
        for cluster in range(len(centroids)):
            rows = x[labels == cluster]
            if len(rows):
                centroids[cluster] = rows.mean(0)
    distances, labels = torch.cdist(x, centroids).min(1)
    return labels, float(distances.square().sum())


def measure_kmeans(samples, dims, clusters, iterations, rounds, with_plain=True):
    """Time each form on the same rows of unit length.

    Args:
        samples (int): Number of rows, over all processes together.
        dims (int): Their dimension.
        clusters (int): Number of clusters.
        iterations (int): Updates of the centroids.
        rounds (int): How often each is timed, by turns; the fastest counts.
        with_plain (bool): Time the straightforward form too, which needs samples x clusters numbers at once.

    Returns:
        dict[str, dict]: For `distributed`, and in one process `plain` and `faiss`: seconds, loss (sum of squared
        distances) and `ratio`, the seconds over those of `distributed`. faiss begins with other rows.
    """
    device, rank, world_size = default_device(), get_rank(), get_world_size()
    x = F.normalize(torch.randn(samples, dims, generator=torch.Generator().manual_seed(0)), dim=1)
    index = torch.arange(samples).tensor_split(world_size)[rank]
    mine = x[index].to(device)
    first = distributed_kmeans(mine, clusters, 0, index=index).centroids

    forms = dict(distributed=lambda: distributed_kmeans(mine, clusters, iterations, index=index).losses)
    if world_size == 1:
        array = x.numpy()
        if with_plain:
            forms['plain'] = lambda: plain_kmeans(mine, first, iterations)
        forms['faiss'] = lambda: faiss_kmeans(array, clusters, iterations)[2]
    seconds, losses = {name: [] for name in forms}, {}
    for _ in range(rounds):
        for name, form in forms.items():
            start = time.perf_counter()
            losses[name] = form()[-1]  # a number on the host: the device is done
            seconds[name].append(time.perf_counter() - start)
    best = {name: min(values) for name, values in seconds.items()}
    return {name: dict(seconds=best[name], loss=losses[name], ratio=best[name] / best['distributed']) for name in forms}
