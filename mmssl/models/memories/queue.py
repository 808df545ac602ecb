# Copyright (c) mmssl contributors. All rights reserved.
"""First-in-first-out queue of keys. It is a pair of buffers of an algorithm, so that checkpoints hold it."""
import torch
from torch.nn import functional as F

from ..losses import similarities


def new_queue(feat_dim, length):
    """A queue filled with random directions, and its write position.

    The directions come from a generator of their own: the same in every process.

    Args:
        feat_dim (int): Dimension of a key.
        length (int): Number of keys.

    Returns:
        tuple[Tensor, Tensor]: Keys of unit length, feat_dim x length, and the position, of shape (1,).

    Raises:
        ValueError: A size is not positive.
    """
    if feat_dim < 1 or length < 1:
        raise ValueError(f'a queue needs positive sizes, got feat_dim={feat_dim!r}, length={length!r}')
    keys = torch.randn(feat_dim, length, generator=torch.Generator().manual_seed(0))
    return F.normalize(keys, dim=0), torch.zeros(1, dtype=torch.long)


@torch.no_grad()
def enqueue(queue, ptr, keys):
    """Write keys over the oldest ones, around the end of the queue where it is reached.

    No host sync: the position stays on the device.

    Args:
        queue (Tensor): feat_dim x length, changed in place.
        ptr (Tensor): Where the oldest key stands, shape (1,), changed in place.
        keys (Tensor): N x feat_dim, oldest first. Of more keys than the queue holds, the last ones stay.

    Raises:
        ValueError: The keys have another dimension than the queue.
    """
    feat_dim, length = queue.shape
    if keys.dim() != 2 or keys.shape[1] != feat_dim:
        raise ValueError(f'the queue holds keys of dimension {feat_dim} (feat_dim), got keys of shape '
                         f'{tuple(keys.shape)}')
    skipped = max(len(keys) - length, 0)
    places = (ptr + torch.arange(skipped, len(keys), device=ptr.device)) % length
    queue.index_copy_(1, places, keys[skipped:].T.to(queue.dtype))
    ptr.add_(len(keys)).remainder_(length)


@torch.no_grad()
def nearest_keys(queries, queue):
    """The key of a queue that is nearest to each query.

    Args:
        queries (Tensor): Unit rows, N x feat_dim.
        queue (Tensor): Unit columns, feat_dim x length.

    Returns:
        Tensor: N x feat_dim, a copy.
    """
    return queue[:, similarities(queries, queue.T).argmax(1)].T
