# Copyright (c) mmssl contributors. All rights reserved.
"""Do the classes show without labels? k-means on features, compared with the classes."""
import numpy as np
import torch.nn.functional as F

from mmssl.utils.clustering import run_kmeans
from .checks import check_features, labelled


def run(features, labels, num_clusters=None, restarts=5, normalize=True, seed=0):
    """k-means, and how well its clusters agree with the classes.

    `nmi` is normalised by the arithmetic mean of the entropies, `ari` is adjusted for chance (0 for random clusters).
    `accuracy` gives each class a cluster of its own, by the best matching of all (Kuhn, 1955, the Hungarian method);
    with more clusters than classes some match none, and count as wrong. `purity` gives each cluster the class that most
    of its samples have, so that it grows with the number of clusters.

    Args:
        features (Tensor | ndarray): N x D.
        labels (Tensor | ndarray): N integers, -1 where unlabelled: these samples are left out.
        num_clusters (int, optional): By default the number of classes.
        restarts (int): How often, from other first centres.
        normalize (bool): Cluster features of unit length.
        seed (int): Restart i begins with the seed `seed` + i.

    Returns:
        dict: Of `nmi`, `ari`, `accuracy` and `purity` the mean over restarts, `..._std` their standard deviation
        (population), `best_nmi` and so on those of the restart with the lowest k-means loss, which needs no label; and
        the integers num_samples, num_classes, num_clusters.

    Raises:
        ValueError: Features and labels do not fit together, one class only, or fewer samples than clusters.
    """
    if restarts < 1:
        raise ValueError(f'restarts must be at least 1, got {restarts}')
    x, y = labelled(*check_features(features, labels))
    classes, y = np.unique(y.cpu().numpy(), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f'there is one class only, {classes[0]}: nothing to agree with')
    k = len(classes) if num_clusters is None else num_clusters
    x = (F.normalize(x.float(), dim=1) if normalize else x.float()).cpu().numpy()
    found, losses = [], []
    for i in range(restarts):
        clusters, loss = run_kmeans(x, k, seed=seed + i)
        found.append(agreement(clusters, y))
        losses.append(loss)
    best = found[int(np.argmin(losses))]
    metrics = {}
    for name in best:
        values = [metric[name] for metric in found]
        metrics.update({name: float(np.mean(values)), f'{name}_std': float(np.std(values)), f'best_{name}': best[name]})
    return dict(metrics, num_samples=len(y), num_classes=len(classes), num_clusters=k)


def agreement(clusters, labels):
    """How well clusters agree with classes; see `run`.

    Args:
        clusters (ndarray): N integers from 0.
        labels (ndarray): N integers from 0.

    Returns:
        dict[str, float]: nmi, ari, accuracy and purity.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    table = np.zeros((clusters.max() + 1, labels.max() + 1), np.int64)
    np.add.at(table, (clusters, labels), 1)
    return dict(
        nmi=float(normalized_mutual_info_score(labels, clusters)),
        ari=float(adjusted_rand_score(labels, clusters)),
        accuracy=float(table[linear_sum_assignment(table, maximize=True)].sum() / len(labels)),
        purity=float(table.max(1).sum() / len(labels)))
