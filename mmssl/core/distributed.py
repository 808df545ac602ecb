# Copyright (c) mmssl contributors. All rights reserved.
"""The wrapper that averages gradients over processes."""
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel as _DistributedDataParallel

from mmssl.utils.dist import broadcast


class DistributedDataParallel(_DistributedDataParallel):
    """torch's wrapper, on GPU or CPU, for models that are trained by train_step and val_step.

    Buffers are not broadcast in every forward pass by default. Queues, banks and momentum encoders are updated from
    gathered batches and hence equal on all ranks, as are the statistics of SyncBN; the running statistics of plain
    batch norm do differ from rank to rank, but training does not use them, rank 0's are the ones that are saved, and
    evaluation takes those on each rank (see broadcast_batch_norm).
    """

    def __init__(self, module, broadcast_buffers=False, **kwargs):
        super().__init__(module, **kwargs)
        # set afterwards, so that the buffers of rank 0, such as a random queue, are still sent to all at the start
        self.broadcast_buffers = broadcast_buffers

    def train_step(self, data, optimizer):
        return self.module.train_step(data, optimizer, forward=self)

    def val_step(self, data, optimizer=None):
        return self.module.val_step(data, optimizer)

    def _passing_sync_batchnorm_handle(self, module):
        """torch refuses SyncBatchNorm on a CPU here; ours computes that case itself (mmssl.models.utils.norm)."""


@torch.no_grad()
def broadcast_batch_norm(model):
    """Give each rank the running statistics of rank 0, which are the ones in the checkpoint."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            for buffer in module.buffers():
                broadcast(buffer)
