# Copyright (c) mmssl contributors. All rights reserved.
"""How good is a representation, told without labels? Figures by which to choose among checkpoints."""
import numpy as np
import torch
import torch.nn.functional as F

from mmssl.utils.clustering import run_kmeans
from .checks import check_features
from .representation import effective_rank

FIRST = 5  # eigenvalues before this one do not follow the power law


@torch.no_grad()
def run(features, max_samples=4096, clusters=None, neighbours=10, seed=0):
    """All figures of this module.

    Args:
        features (Tensor | ndarray): N x D, labels are not needed.
        max_samples (int): At most this many samples, evenly spaced, are looked at.
        clusters (int, optional): Of the learnability; by default the square root of the number of samples, rounded.
        neighbours (int): k of the learnability and of the intrinsic dimension.
        seed (int): Of k-means and of the order of samples.

    Returns:
        dict[str, float]: `rankme` (effective rank of the features: higher is better), `alpha_req` (exponent of the
        spectrum's power law: close to 1 is better), `cluster_learnability` (0 to 1) and `intrinsic_dimension`: of two
        networks equal in one of these, the higher in the other is better; `clid` joins them.

    Raises:
        ValueError: NaN, or fewer than 50 samples.
    """
    features, _ = check_features(features)
    if len(features) < 50:
        raise ValueError(f'{len(features)} samples are too few for these figures: at least 50 are needed')
    if neighbours < 3:
        raise ValueError(f'neighbours must be at least 3, got {neighbours}')
    picked = torch.linspace(0, len(features) - 1, min(len(features), max_samples)).long()
    z = features[picked].float()
    return dict(
        rankme=float(effective_rank(z)),
        alpha_req=alpha_req(z),
        cluster_learnability=cluster_learnability(z, clusters or round(len(z)**0.5), neighbours, seed),
        intrinsic_dimension=intrinsic_dimension(z, neighbours))


def clid(metrics):
    """Cluster learnability and intrinsic dimension of several networks in one figure (Lu et al., 2023).

    Each is standardised over the networks, and the two are added: the figure compares these networks with one another
    and means nothing beyond them.

    Args:
        metrics (Sequence[dict]): What `run` returned for each network, on the same images.

    Returns:
        list[float]: One a network, higher is better; 0 where there is one only.
    """
    table = np.array([[m['cluster_learnability'], m['intrinsic_dimension']] for m in metrics])
    std = table.std(0)
    return ((table - table.mean(0)) / np.where(std > 0, std, 1)).sum(1).tolist()


def alpha_req(features, first=FIRST, last=None):
    """Exponent alpha of the power law i^-alpha of the covariance's eigenvalues (alpha-ReQ, Agrawal et al., 2022).

    A line is fitted to the logarithms by least squares, each eigenvalue weighing 1 / i, so that each octave of the
    index counts alike. Close to 1: all directions are used, the later ones less. Far above 1: few are used. Far below:
    the later ones as much as the first, as in noise.

    Args:
        features (Tensor): N x D.
        first, last (int, optional): Eigenvalues, counted from 1, that the line is fitted to; by default up to half of
            those that are there, where the finite sample bends the spectrum.

    Returns:
        float: alpha; nan where fewer than three eigenvalues of the range are above zero.
    """
    z = features.double()
    z = z - z.mean(0)
    values = torch.linalg.eigvalsh(z.T @ z if len(z) >= z.shape[1] else z @ z.T).flip(0)
    values = values[values > values[0] * 1e-12]
    index = torch.arange(1, len(values) + 1, dtype=torch.float64, device=z.device)
    last = last or max(first + 2, len(values) // 2)
    x, y, weight = index[first - 1:last].log(), values[first - 1:last].log(), 1 / index[first - 1:last]
    if len(x) < 3:
        return float('nan')
    x, y = x - (weight * x).sum() / weight.sum(), y - (weight * y).sum() / weight.sum()
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


def intrinsic_dimension(features, neighbours=10):
    """Dimension of the set that features lie on (Levina and Bickel, 2004, averaged as by MacKay and Ghahramani, 2005).

    By the growth of the number of neighbours with the distance. Copies of a sample count once.

    Args:
        features (Tensor): N x D.
        neighbours (int): k: distances to the k nearest are looked at.

    Returns:
        float: The dimension; 0 where there are no more than k different samples.
    """
    z = torch.unique(features.double(), dim=0)
    if len(z) <= neighbours:
        return 0.
    distances = torch.cat([torch.cdist(part, z).topk(neighbours + 1, largest=False).values for part in z.split(1024)])
    distances = distances[:, 1:].clamp(min=1e-300)
    inverse = (distances[:, -1:] / distances[:, :-1]).log().sum(1) / (neighbours - 1)
    return float(1 / inverse.mean())


def cluster_learnability(features, clusters, neighbours=10, seed=0):
    """How fast a nearest-neighbour classifier learns k-means' clusters (Lu et al., 2023, arXiv:2206.01251).

    Samples come one after the other, in random order, and each is classified by those before it; their accuracy is
    averaged over all of them.

    Args:
        features (Tensor): N x D; compared by cosine similarity.
        clusters (int): Number of clusters.
        neighbours (int): Number of neighbours that vote.
        seed (int): Of k-means and of the order.

    Returns:
        float: 0 to 1.
    """
    z = F.normalize(features.float(), dim=1)
    labels = torch.from_numpy(run_kmeans(z.cpu().numpy(), clusters, seed=seed)[0]).to(z.device)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(z))).to(z.device)
    z, labels = z[order], labels[order]
    right = 0
    for start in range(1, len(z), 1024):
        end = min(start + 1024, len(z))
        rows = torch.arange(start, end, device=z.device)
        similarity = z[start:end] @ z[:end - 1].T
        similarity.masked_fill_(torch.arange(similarity.shape[1], device=z.device) >= rows[:, None], -torch.inf)
        nearest = similarity.topk(min(neighbours, similarity.shape[1]))
        votes = similarity.new_zeros(len(rows), clusters)
        votes.scatter_add_(1, labels[nearest.indices], (nearest.values > -torch.inf).float())
        right += (votes.argmax(1) == labels[rows]).sum()
    return int(right) / (len(z) - 1)
