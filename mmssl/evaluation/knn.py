# Copyright (c) mmssl contributors. All rights reserved.
"""Weighted k-nearest-neighbour classification on frozen features: exact, in bounded memory."""
import warnings

import numpy as np
import torch

from .checks import check_features, labelled
from .neighbours import indexed_neighbours, nearest_neighbours


def run(train_features,
        train_labels,
        test_features,
        test_labels,
        k=(10, 20, 100, 200),
        temperature=(0.07, ),
        memory_limit=512,
        device=None,
        index=None):
    """Classify test samples by the labels of their nearest training samples (Wu et al., 2018, arXiv:1805.01978).

    Each of the k training samples with the highest cosine similarity s votes for its class with weight
    exp(s / temperature). Training samples without a label (-1) stay out of the bank, test samples without one
    out of the score. A test sample of a class that the bank lacks counts as wrong, and so does a class without
    any vote, however few classes were voted for. Nothing is chosen by the test set: every k and temperature asked
    for is reported.

    Args:
        train_features (Tensor | ndarray): N x D, the bank.
        train_labels (Tensor | ndarray): N integers, -1 where unlabelled; classes need not be contiguous.
        test_features (Tensor | ndarray): M x D.
        test_labels (Tensor | ndarray): M integers, as `train_labels`.
        k (int | Sequence[int]): Numbers of neighbours. A k above the size of the bank is clipped, with a warning.
        temperature (float | Sequence[float]): Temperatures of the votes.
        memory_limit (float): MiB for the similarities of one tile and what is sorted with them. The features and
            M x k neighbours come on top.
        device (torch.device | str, optional): Where to compute; by default where `test_features` are.
        index (str, optional): An index of faiss instead of the exact search, see neighbours.indexed_neighbours.

    Returns:
        dict: 'k{k}_T{temperature}_top1' and '..._top5' as fractions for each pair, under the k asked for, and the
        integers 'num_train', 'num_test' and 'num_classes' that took part.

    Raises:
        ValueError: Features and labels do not fit together, hold NaN, or nothing is labelled.
    """
    ks, temperatures = _check_options(k, temperature, memory_limit)
    bank, bank_labels, _ = _bank(train_features, train_labels, max(ks))
    queries, targets = labelled(*check_features(test_features, test_labels, 'test'), 'test')
    _check_dimensions(bank, queries)
    device = torch.device(device) if device is not None else queries.device
    classes, bank_labels = bank_labels.unique(return_inverse=True)
    targets = _positions(targets, classes).to(device)
    nearest = min(max(ks), len(bank))
    if index is None:
        similarity, neighbours = nearest_neighbours(bank, queries, nearest, memory_limit, device)
    else:
        similarity, neighbours = indexed_neighbours(bank, queries, nearest, index, device)
    votes_for = bank_labels.to(device)[neighbours]

    metrics = {}
    rows = _rows(memory_limit, len(classes), similarity.shape[1])
    for t in temperatures:
        for n in ks:
            hits = torch.zeros(2, dtype=torch.long, device=device)
            for s, votes, target in zip(similarity.split(rows), votes_for.split(rows), targets.split(rows)):
                hits += _count_hits(s[:, :n], votes[:, :n], target, t, len(classes))
            top1, top5 = (hits.double() / len(queries)).tolist()
            metrics.update({f'k{n}_T{t:g}_top1': top1, f'k{n}_T{t:g}_top5': top5})
    return dict(metrics, num_train=len(bank), num_test=len(queries), num_classes=len(classes))


def classify(train_features,
             train_labels,
             test_features,
             test_labels=None,
             k=20,
             temperature=0.07,
             memory_limit=512,
             device=None):
    """The label that `run` would predict for each test sample, and the neighbours that voted for it.

    Args:
        train_features, train_labels, test_features, memory_limit, device: See `run`.
        test_labels (Tensor | ndarray, optional): Checked only; test samples without a label are classified too.
        k (int): Number of neighbours, clipped to the size of the bank with a warning.
        temperature (float): Temperature of the votes.

    Returns:
        tuple[ndarray, ndarray]: M int64 labels, as in `train_labels`; of classes with equally many votes the lowest.
        And M x k int64, the neighbours' rows in `train_features`, nearest first.

    Raises:
        ValueError: As `run`.
    """
    (k, ), (temperature, ) = _check_options(k, temperature, memory_limit)
    bank, bank_labels, rows = _bank(train_features, train_labels, k)
    queries, _ = check_features(test_features, test_labels, 'test')
    _check_dimensions(bank, queries)
    device = torch.device(device) if device is not None else queries.device
    classes, bank_labels = bank_labels.unique(return_inverse=True)
    similarity, neighbours = nearest_neighbours(bank, queries, min(k, len(bank)), memory_limit, device)
    votes_for, parts = bank_labels.to(device)[neighbours], _rows(memory_limit, len(classes), similarity.shape[1])
    # numpy's argmax takes the first of equals, as the ranking of `run` does
    chosen = [
        _votes(s, votes, temperature, len(classes)).cpu().numpy().argmax(1)
        for s, votes in zip(similarity.split(parts), votes_for.split(parts))
    ]
    return classes.cpu().numpy()[np.concatenate(chosen)], rows.cpu().numpy()[neighbours.cpu().numpy()]


def knn_classifier(train_features, train_labels, test_features, test_labels, k, T, num_classes=1000):
    """Top-1 and top-5 accuracy of weighted kNN in per cent, by the name and arguments that MMSelfSup users know.

    Args:
        train_features, train_labels, test_features, test_labels: See `run`.
        k (int): Number of neighbours.
        T (float): Temperature.
        num_classes (int): Accepted for compatibility; the classes are those of `train_labels`.

    Returns:
        tuple[float, float]: Top-1 and top-5 accuracy, 0 to 100.
    """
    metrics = run(train_features, train_labels, test_features, test_labels, k=k, temperature=T)
    return 100 * metrics[f'k{k}_T{T:g}_top1'], 100 * metrics[f'k{k}_T{T:g}_top5']


def _check_options(k, temperature, memory_limit):
    ks = (k, ) if isinstance(k, int) else tuple(k)
    temperatures = (temperature, ) if isinstance(temperature, (int, float)) else tuple(temperature)
    if not ks or any(not isinstance(n, int) or n < 1 for n in ks):
        raise ValueError(f'k must be positive integers, got {k!r}')
    if not temperatures or any(not t > 0 for t in temperatures):
        raise ValueError(f'temperature must be positive, got {temperature!r}')
    if not memory_limit > 0:
        raise ValueError(f'memory_limit must be a positive number of MiB, got {memory_limit!r}')
    return ks, temperatures


def _bank(features, labels, k):
    """The labelled training samples, their labels, and their rows in `features`."""
    features, labels = check_features(features, labels, 'training')
    bank, bank_labels = labelled(features, labels, 'training')
    if k > len(bank):
        warnings.warn(f'k {k} is more than the {len(bank)} labelled training samples: '
                      f'all {len(bank)} of them vote instead')
    return bank, bank_labels, (labels >= 0).nonzero()[:, 0]


def _check_dimensions(bank, queries):
    if bank.shape[1] != queries.shape[1]:
        raise ValueError(f'training features have {bank.shape[1]} dimensions, test features {queries.shape[1]}')


def _rows(memory_limit, num_classes, k):
    """Number of queries whose votes are counted at once."""
    return max(1, int(memory_limit * 2**20 / (24 * num_classes + 24 * k)))


def _positions(labels, classes):
    """Position of each label in the sorted tensor `classes`, -1 where it is not among them."""
    position = torch.searchsorted(classes, labels).clamp_(max=len(classes) - 1)
    return torch.where(classes[position] == labels, position, -1)


def _votes(similarity, votes_for, temperature, num_classes):
    """Weighted votes, queries x classes in float64, of neighbours in descending order of their similarity."""
    # relative to the nearest: the same ranking, and no overflow however low the temperature
    weights = ((similarity - similarity[:, :1]).double() / temperature).exp()
    return weights.new_zeros(len(weights), num_classes).scatter_add_(1, votes_for, weights)


def _count_hits(similarity, votes_for, targets, temperature, num_classes):
    """Number of queries whose target gets the most votes, and is among the five that get most; see `run`.

    Classes with equally many votes rank in the order of their labels.
    """
    votes = _votes(similarity, votes_for, temperature, num_classes)
    own = votes.gather(1, targets.clamp(min=0)[:, None])
    earlier = torch.arange(num_classes, device=votes.device) < targets[:, None]
    rank = ((votes > own) | ((votes == own) & earlier)).sum(1)
    valid = (targets >= 0) & (own[:, 0] > 0)
    return torch.stack([((rank < n) & valid).sum() for n in (1, 5)])
