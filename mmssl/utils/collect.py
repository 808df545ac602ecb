# Copyright (c) mmssl contributors. All rights reserved.
"""Outputs of a function over a loader, under the names that MMSelfSup users know."""
import numpy as np
import torch

from .gather import gather_tensors_batch


def nondist_forward_collect(func, data_loader, length):
    """Call a function with each batch and join what it returns.

    Args:
        func (callable): Called with the entries of a batch as keywords; returns a dict of CPU tensors, a row a sample.
        data_loader (Iterable[dict]): Batches.
        length (int): Number of samples.

    Returns:
        dict[str, ndarray]: Arrays of `length` rows, in the order of the loader.

    Raises:
        ValueError: The loader has more or fewer samples.
    """
    arrays, _ = _forward(func, data_loader)
    _check_lengths(arrays, length)
    return arrays


def dist_forward_collect(func, data_loader, rank, length, ret_rank=-1):
    """As nondist_forward_collect, where each process has a share of the samples.

    Args:
        func (callable): See nondist_forward_collect.
        data_loader (Iterable[dict]): Batches with `idx`, by which rows are put in the order of the data set; a sample
            that several processes have seen, to fill up their last batches, is there once.
        rank (int): Of this process.
        length (int): Number of samples in the data set.
        ret_rank (int): Which process gets the arrays; -1 for all.

    Returns:
        dict[str, ndarray] | None: Arrays of `length` rows; None where another process gets them.

    Raises:
        ValueError: Batches without `idx`, or not exactly the samples 0 to `length` - 1 in all.
    """
    arrays, index = _forward(func, data_loader)
    if index is None:
        raise ValueError('batches must have idx: without, nobody knows the order of the samples of several processes')
    gathered = {name: gather_tensors_batch(array, ret_rank=ret_rank) for name, array in dict(arrays, idx=index).items()}
    if ret_rank not in (-1, rank):
        return None
    gathered = {name: np.concatenate(parts) for name, parts in gathered.items()}
    found, first = np.unique(gathered.pop('idx'), return_index=True)
    if len(found) != length or found[0] != 0 or found[-1] != length - 1:
        raise ValueError(f'{len(found)} samples from {found[0]} to {found[-1]} were seen, expected 0 to {length - 1}')
    return {name: array[first] for name, array in gathered.items()}


def _forward(func, data_loader):
    """Joined outputs of all batches, and their indices if they have any."""
    outputs, indices = {}, []
    with torch.no_grad():
        for batch in data_loader:
            for name, value in func(**batch).items():
                outputs.setdefault(name, []).append(value.numpy())
            if 'idx' in batch:
                indices.append(batch['idx'].cpu().numpy())
    return {
        name: np.concatenate(parts)
        for name, parts in outputs.items()
    }, np.concatenate(indices) if indices else None


def _check_lengths(arrays, length):
    for name, array in arrays.items():
        if len(array) != length:
            raise ValueError(f'{name} has {len(array)} rows, expected {length}')
