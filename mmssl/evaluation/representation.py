# Copyright (c) mmssl contributors. All rights reserved.
"""How a set of features fills its space: spread, effective rank, alignment, uniformity. No labels needed."""
import torch
import torch.nn.functional as F

from .checks import check_features


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

    Args:
        features (Tensor): N x D, N >= 2.
        t (float): Scale of the potential.

    Returns:
        Tensor: 0-dim, 0 where all features are the same, towards -2t in high dimensions where they spread evenly.
    """
    squared = torch.pdist(F.normalize(features, dim=1)).square()
    return (-t * squared).logsumexp(0) - torch.tensor(float(len(squared)), device=features.device).log()


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
