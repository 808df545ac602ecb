# Copyright (c) mmssl contributors. All rights reserved.
"""Which rows hold which value, for all values in one pass: members of clusters, images of classes."""
import numpy as np


def rows_by_value(values):
    """The rows of each value that is there.

    A search for each of K values reads the N rows K times; this sorts them once.

    Args:
        values (Sequence[int] | ndarray): N integers.

    Returns:
        tuple[ndarray, list[ndarray]]: The values that are there, ascending, and for each its rows, ascending.
    """
    values = np.asarray(values).reshape(-1)
    if not values.size:
        return values, []
    low, high = values.min(), values.max()
    # numpy sorts 16 bits by counting, in a tenth of the time
    keys = (values - low).astype(np.uint16) if int(high) - int(low) < 2**16 else values
    order = np.argsort(keys, kind='stable')
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[starts], np.split(order, starts[1:])


def get_indices_sparse(data):
    """Where each value of an array of cluster numbers lies; the name is VISSL's.

    Args:
        data (ndarray): Integers of any shape; negative ones belong to no cluster.

    Returns:
        list[tuple[ndarray, ...]]: For each value from 0 to the highest what `np.nonzero(data == value)` gives; empty
            arrays for a value that is absent.
    """
    data = np.asarray(data)
    if data.dtype.kind not in 'iu':
        raise ValueError(f'numbers of clusters are integers, got {data.dtype}')
    found, rows = rows_by_value(data)
    members = [np.zeros(0, np.int64)] * (int(found[-1]) + 1 if len(found) else 0)
    for value, own in zip(found.tolist(), rows):
        if value >= 0:
            members[value] = own
    return [np.unravel_index(own, data.shape) for own in members]
