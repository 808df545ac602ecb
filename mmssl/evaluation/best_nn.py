# Copyright (c) mmssl contributors. All rights reserved.
"""k-nearest-neighbour classification with the best k, as in the evaluation of small models (arXiv:2107.14762)."""
import numpy as np
import torch

from .checks import check_features, labelled
from .neighbours import nearest_neighbours

SPACES = ('raw', 'norm', 'shifted-norm')


@torch.no_grad()
def run(train_features,
        train_labels,
        test_features,
        test_labels,
        max_k=101,
        space='raw',
        num_choice=10000,
        memory_limit=512,
        device=None):
    """Classify test samples by the majority of their k nearest training samples, k from 1 to `max_k`.

    k is chosen on the training set: each of `num_choice` samples of it is classified by the others. The authors' code
    takes the k that is best on the test set; that figure is `best_on_test`. Of classes with equally many votes that one
    wins whose first neighbour is the nearest.

    Args:
        train_features (Tensor | ndarray): N x D.
        train_labels (Tensor | ndarray): N integers, -1 where unlabelled; classes need not be contiguous.
        test_features (Tensor | ndarray): M x D.
        test_labels (Tensor | ndarray): M integers, as `train_labels`. Classes unknown in training count as wrong.
        max_k (int): Largest k.
        space (str): 'raw' (Euclidean distance), 'norm' (of features of length one), or 'shifted-norm' (of length one
            after subtraction of the mean of the training features; the authors subtract that of a batch).
        num_choice (int): At most so many training samples, evenly spaced, serve for the choice of k.
        memory_limit (float): MiB for a tile of distances.
        device (torch.device | str, optional): Where to compute; by default where the test features are.

    Returns:
        dict: 'k' and its accuracy 'top1' as a fraction; 'choice_top1' and 'by_k', accuracies of k = 1 to `max_k` on the
        training samples (each by the others) and on the test samples; 'best_on_test' and 'best_on_test_k', which
        flatter; 'space', and the integers 'num_train', 'num_test', 'num_classes' and 'num_choice'.

    Raises:
        ValueError: Features and labels do not fit together, hold NaN, or max_k is not below the number of labelled
            training samples.
    """
    if space not in SPACES:
        raise ValueError(f'space must be one of {SPACES}, got {space!r}')
    bank, labels = labelled(*check_features(train_features, train_labels, 'training'), 'training')
    queries, truth = labelled(*check_features(test_features, test_labels, 'test'), 'test')
    if bank.shape[1] != queries.shape[1]:
        raise ValueError(f'training features have {bank.shape[1]} dimensions, test features {queries.shape[1]}')
    if not isinstance(max_k, int) or not 1 <= max_k < len(bank):
        raise ValueError(f'max_k must be from 1 to {len(bank) - 1}, as there are {len(bank)} labelled training samples '
                         f'and each is classified by the others; got {max_k!r}')
    if num_choice < 1:
        raise ValueError(f'num_choice must be at least 1, got {num_choice}')
    device = torch.device(device) if device is not None else queries.device
    bank, queries = bank.to(device).float(), queries.to(device).float()
    if space != 'norm':  # distances do not change by it, and are the more precise
        mean = bank.mean(0, dtype=torch.float64).float()
        bank, queries = bank - mean, queries - mean
    search = _nearest if space == 'raw' else lambda *args: nearest_neighbours(*args)[1]
    labels, truth = labels.to(device), truth.to(device)

    chosen = torch.arange(0, len(bank), -(-len(bank) // num_choice), device=device)
    found = search(bank, bank[chosen], max_k + 1, memory_limit)
    itself = found == chosen[:, None]
    itself[:, -1] |= ~itself.any(1)  # among many copies of it: then one of these is left out
    others = found[~itself].view(len(chosen), max_k)
    choice = _accuracies(labels[others], labels[chosen])
    by_k = _accuracies(labels[search(bank, queries, max_k, memory_limit)], truth)
    k = int(choice.argmax())
    return dict(
        k=k + 1,
        top1=float(by_k[k]),
        choice_top1=choice.tolist(),
        by_k=by_k.tolist(),
        best_on_test=float(by_k.max()),
        best_on_test_k=int(by_k.argmax()) + 1,
        space=space,
        num_train=len(bank),
        num_test=len(queries),
        num_classes=len(labels.unique()),
        num_choice=len(chosen))


def _nearest(bank, queries, k, memory_limit):
    """Rows of the k nearest by Euclidean distance in float32, nearest first."""
    rows = max(1, int(memory_limit * 2**20 / 8 / len(bank)))
    half = bank.square().sum(1) / 2
    return torch.cat([torch.addmm(half, part, bank.T, alpha=-1).topk(k, largest=False).indices
                      for part in queries.split(rows)])  # yapf: disable


def _accuracies(votes, truth):
    """Accuracy of the majority of the first k votes for each k; M x K labels, nearest first, against M labels."""
    classes = votes.unique()
    hits = np.zeros(votes.shape[1], np.int64)
    for part, target in zip(votes.split(4096), truth.split(4096)):
        part = torch.searchsorted(classes, part.contiguous())
        size = votes.shape[1] + 1
        score = part.new_zeros(len(part), len(classes))
        for k, vote in enumerate(part.T):
            vote = vote[:, None]
            # the first vote for a class counts a little more, the sooner the more
            seen = score.gather(1, vote)
            score.scatter_(1, vote, seen + torch.where(seen > 0, size, 2 * size - 1 - k))
            hits[k] += int((classes[score.argmax(1)] == target).sum())
    return hits / len(truth)
