# Copyright (c) mmssl contributors. All rights reserved.
"""The wrapper that averages gradients over processes."""
import inspect

import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel as _DistributedDataParallel

from mmssl.utils.dist import broadcast
from mmssl.utils.errors import ConfigError, check_integer, nearest

_HALF = dict(fp16=default_hooks.fp16_compress_hook, bf16=default_hooks.bf16_compress_hook)


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


def _power_sgd(state, bucket):
    future = powerSGD_hook.powerSGD_hook(state, bucket)
    if not bucket.buffer().is_cuda:
        # its second collective begins in a thread of gloo, on each process before or behind those of the next bucket
        future.wait()
    return future


def compress_gradients(wrapped, options):
    """Send gradients in a shorter form between processes.

    Args:
        wrapped (DistributedDataParallel): The model.
        options (str | dict): 'fp16' or 'bf16', whose sums are rounded to that type, or 'powerSGD'
            (https://arxiv.org/abs/1905.13727), a product of two thin matrices for each weight; or a dict with one of
            these as `type` and, for powerSGD, arguments of torch's PowerSGDState: `matrix_approximation_rank` (1),
            `start_powerSGD_iter` (1000; the iterations before are sent as they are), `min_compression_rate` (2), ...

    Raises:
        ConfigError: Another type or argument.
    """
    options = dict(type=options) if isinstance(options, str) else dict(options)
    kind, known = options.pop('type', None), [*_HALF, 'powerSGD']
    if kind not in known:
        raise ConfigError(f'gradient_compression is one of {", ".join(known)}, or a dict with one as its type, got '
                          f'{kind!r}')
    takes = [name for name in inspect.signature(powerSGD_hook.PowerSGDState).parameters if name != 'process_group']
    for name in options:
        if kind in _HALF or name not in takes:
            raise ConfigError(f'gradient_compression {kind!r} takes no {name!r}; ' +
                              ('it has no options' if kind in _HALF else nearest(name, takes)))
    if kind in _HALF:
        wrapped.register_comm_hook(None, _HALF[kind])
        return
    for name in ('matrix_approximation_rank', 'start_powerSGD_iter'):  # else they fail in the midst of the training
        if name in options:
            check_integer(options[name], f'gradient_compression.{name}', 1)
    try:
        state = powerSGD_hook.PowerSGDState(None, **options)
    except ValueError as error:
        raise ConfigError(f'gradient_compression: {error}') from error
    wrapped.register_comm_hook(state, _power_sgd)


@torch.no_grad()
def broadcast_batch_norm(model):
    """Give each rank the running statistics of rank 0, which are the ones in the checkpoint."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            for buffer in module.buffers():
                broadcast(buffer)
