# Copyright (c) mmssl contributors. All rights reserved.
"""Arrays of all processes, under the names that MMSelfSup users know."""
import numpy as np
import torch

from .dist import concat_all_gather, default_device, gather_variable, get_rank, is_distributed

__all__ = ['concat_all_gather', 'gather_tensors', 'gather_tensors_batch']


def gather_tensors(input_array):
    """The arrays of all processes, which may differ in length.

    Args:
        input_array (ndarray): N x ..., of the same type and further dimensions on each process.

    Returns:
        list[ndarray]: One array a process, in rank order, on every process.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(input_array))
    if not is_distributed():
        return [tensor.numpy()]
    return [part.cpu().numpy() for part in gather_variable(tensor.to(default_device()))]


def gather_tensors_batch(input_array, part_size=100, ret_rank=-1):
    """As gather_tensors, but at most `part_size` rows travel at once, so that a device needs to hold these alone.

    Args:
        input_array (ndarray): N x ..., see gather_tensors.
        part_size (int): Rows.
        ret_rank (int): Which process gets the arrays; -1 for all.

    Returns:
        list[ndarray] | None: One array a process; None where another process gets them.
    """
    if part_size < 1:
        raise ValueError(f'part_size must be at least 1, got {part_size}')
    # all processes take part as often as the one with most rows
    longest = max(int(length[0]) for length in gather_tensors(np.array([len(input_array)])))
    starts = range(0, max(longest, 1), part_size)
    parts = [gather_tensors(input_array[start:start + part_size]) for start in starts]
    if ret_rank not in (-1, get_rank()):
        return None
    return [np.concatenate(arrays) for arrays in zip(*parts)]
