# Copyright (c) mmssl contributors. All rights reserved.
"""How a set of features fills its space: spread, effective rank, alignment, uniformity. No labels needed."""
import torch
import torch.nn.functional as F

from .checks import check_features

_TILE = 2048  # samples whose pairs are looked at at once


def feature_std(features):
    """Standard deviation of L2-normalised features, mean over dimensions, times sqrt(D).

    1 where the features spread evenly over the unit sphere, 0 where all are the same: the usual sign of collapse
    (Chen and He, 2021, arXiv:2011.10566, figure 2, without the factor).

    Args:
        features (Tensor): N x D.

    Returns:
        Tensor: 0-dim.
    """
    z = F.normalize(features, dim=1)
    return z.std(0, correction=0).mean() * z.shape[1]**0.5


def effective_rank(features):
    """Exponential of the entropy of the singular values, which are divided by their sum.

    1 where all features lie on one line through the origin, min(N, D) where they fill all directions evenly (Roy and
    Vetterli, 2007; RankMe, Garrido et al., 2023, arXiv:2210.02885). As in RankMe, features are neither centred nor
    normalised.

    Args:
        features (Tensor): N x D.

    Returns:
        Tensor: 0-dim.
    """
    z = features.double()
    # the roots of the Gram matrix's eigenvalues, many times as fast as a decomposition of N x D; float64 keeps 8 digits
    values = torch.linalg.eigvalsh(z @ z.T if z.shape[0] < z.shape[1] else z.T @ z).clamp(min=0).sqrt()
    p = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(p).sum().exp().float()


def alignment(x, y, alpha=2):
    """Mean distance of positive pairs on the unit sphere, to the power `alpha` (Wang and Isola, arXiv:2005.10242).

    Args:
        x, y (Tensor): N x D, row i of both belongs to the same sample.
        alpha (float): Exponent.

    Returns:
        Tensor: 0-dim, 0 where the views of each sample agree, 2 for unrelated directions (alpha=2).
    """
    return (F.normalize(x, dim=1) - F.normalize(y, dim=1)).norm(dim=1).pow(alpha).mean()


def uniformity(features, t=2):
    """Logarithm of the mean Gaussian potential of all pairs on the unit sphere (Wang and Isola, arXiv:2005.10242).

    Of all N (N - 1) / 2 pairs, tile by tile and in float64, so that memory does not grow with the square.

    Args:
        features (Tensor): N x D, N >= 2.
        t (float): Scale of the potential.

    Returns:
        Tensor: 0-dim float64, 0 where all features are the same, towards -2t in high dimensions where they spread
        evenly.
    """
    total = torch.zeros((), dtype=torch.float64, device=features.device)
    for i in range(0, len(features), _TILE):
        x = F.normalize(features[i:i + _TILE].double(), dim=1)
        for j in range(i, len(features), _TILE):
            y = x if j == i else F.normalize(features[j:j + _TILE].double(), dim=1)
            potential = torch.addmm(_squared_norms(x)[:, None] + _squared_norms(y), x, y.T, alpha=-2).mul_(-t).exp_()
            total += (potential.triu(1) if j == i else potential).sum()
    return (total / (len(features) * (len(features) - 1) / 2)).log()


def intra_class_alignment(features, labels):
    """Mean squared distance of pairs of the same class on the unit sphere: mean over pairs, then over classes.

    Over all n (n - 1) / 2 pairs of a class the mean of |x - y|^2 is 2 / (n - 1) times the sum of squared distances to
    the mean of the class, which takes n steps instead of n^2. A class with one sample has no pair and is left out.

    Args:
        features (Tensor): N x D.
        labels (Tensor): N integers.

    Returns:
        tuple[Tensor, int]: 0-dim float64, and the number of classes with pairs.

    Raises:
        ValueError: No class has two samples.
    """
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    paired = counts > 1
    if not paired.any():
        raise ValueError(f'none of the {len(counts)} classes has two samples: there are no pairs within a class')
    means = torch.zeros(len(counts), features.shape[1], dtype=torch.float64, device=features.device)
    scatter = torch.zeros(len(counts), dtype=torch.float64, device=features.device)
    for x, at in zip(features.split(_TILE), place.split(_TILE)):
        means.index_add_(0, at, F.normalize(x.double(), dim=1))
    means /= counts[:, None]
    for x, at in zip(features.split(_TILE), place.split(_TILE)):
        scatter.index_add_(0, at, _squared_norms(F.normalize(x.double(), dim=1) - means[at]))
    return (2 * scatter[paired] / (counts[paired] - 1)).mean(), int(paired.sum())


def _squared_norms(x):
    return x.square().sum(1)


@torch.no_grad()
def run(features, positives=None, max_samples=4096):
    """All figures of this module.

    Args:
        features (Tensor | ndarray): N x D.
        positives (Tensor | ndarray, optional): N x D features of another view of the same samples; for alignment.
        max_samples (int): At most this many samples, evenly spaced, are looked at: pairs grow with the square.

    Returns:
        dict[str, float]: 'feature_std', 'effective_rank', 'uniformity', and with `positives` 'alignment'.
    """
    features, _ = check_features(features)
    if len(features) < 2:
        raise ValueError('one sample has no spread: at least 2 are needed')
    picked = torch.linspace(0, len(features) - 1, min(len(features), max_samples)).long()
    z = features[picked].float()
    metrics = dict(feature_std=feature_std(z), effective_rank=effective_rank(z), uniformity=uniformity(z))
    if positives is not None:
        positives, _ = check_features(positives, what='positive')
        if positives.shape != features.shape:
            raise ValueError(f'positives have shape {tuple(positives.shape)}, features {tuple(features.shape)}')
        metrics['alignment'] = alignment(z, positives[picked].float())
    return {name: value.item() for name, value in metrics.items()}
