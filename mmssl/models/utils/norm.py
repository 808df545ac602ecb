# Copyright (c) mmssl contributors. All rights reserved.
"""Batch normalisation over several processes (on any device) and over parts of a batch."""
import torch
from mmcv.cnn import NORM_LAYERS
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl.utils.dist import gather_with_grad, get_world_size
from mmssl.utils.errors import ConfigError


@NORM_LAYERS.register_module('SyncBN', force=True)
class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm with the statistics of all processes.

    In one process it is plain batch norm, on a GPU torch's own kernel; torch has none for several processes on CPUs,
    so this class computes that case itself. Takes N x C or N x C x ... tensors. Arguments are those of
    torch.nn.SyncBatchNorm; `process_group` counts on GPUs only, CPU processes always synchronise all together.
    """

    def forward(self, x):
        if x.is_cuda:
            return super().forward(x)
        if not self.training or get_world_size() == 1:
            # torch's forward refuses CPUs wherever there is a process group, even of one process
            return _BatchNorm.forward(self, x)
        kind = x.dtype
        x = x.to(torch.promote_types(kind, torch.float32))
        dims = [d for d in range(x.dim()) if d != 1]
        var, mean = torch.var_mean(x, dims, correction=0)
        count = mean.new_tensor([x.numel() // x.shape[1]])
        # one collective forward and one backward carry everything: W rows of mean, variance and count
        rows = gather_with_grad(torch.cat([mean, var, count])[None])
        means, variances, counts = rows.split([self.num_features, self.num_features, 1], dim=1)
        total = counts.sum()
        share = counts / total
        mean = (means * share).sum(0)
        # parts of a variance: within the processes and between them (no cancellation, unlike E[x^2] - E[x]^2)
        var = ((variances + (means - mean)**2) * share).sum(0)
        if self.track_running_stats:
            self._track(mean.detach(), (var * total / (total - 1)).detach())
        scale = torch.rsqrt(var + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = [1, -1] + [1] * (x.dim() - 2)
        return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(kind)

    @torch.no_grad()
    def _track(self, mean, unbiased_var):
        self.num_batches_tracked += 1
        # momentum None means a cumulative average
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased_var, momentum)


@NORM_LAYERS.register_module('SplitBN')
class SplitBatchNorm(nn.BatchNorm2d):
    """Batch norm over parts of the batch, as if each part stood on a GPU of its own.

    MoCo needs batch statistics of few samples each, shuffled between queries and keys; on one device this gives it
    what shuffling over GPUs gives elsewhere: `norm_cfg=dict(type='SplitBN', num_splits=8)`. Evaluation and running
    statistics are those of plain batch norm.

    Args:
        num_features (int): Channels.
        num_splits (int): Number of parts. A batch that it does not divide makes parts that differ by one sample.
        kwargs: Those of torch.nn.BatchNorm2d.
    """

    def __init__(self, num_features, num_splits=8, eps=1e-5, momentum=0.1, affine=True):
        super().__init__(num_features, eps, momentum, affine)
        self.num_splits = num_splits

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        parts = [part for part in x.tensor_split(self.num_splits) if len(part)]
        means, variances = self.running_mean.repeat(len(parts), 1), self.running_var.repeat(len(parts), 1)
        out = [
            F.batch_norm(part, mean, var, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, var in zip(parts, means, variances)
        ]
        self.num_batches_tracked += 1
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        return torch.cat(out)


class _Activated:
    """timm's BatchNormAct2d: a norm whose dropout and activation are parts of it."""

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class SyncBatchNormAct(_Activated, SyncBatchNorm):
    """See _Activated."""


class SplitBatchNormAct(_Activated, SplitBatchNorm):
    """See _Activated."""


_KINDS = dict(SyncBN=(SyncBatchNorm, SyncBatchNormAct), SplitBN=(SplitBatchNorm, SplitBatchNormAct))


def convert_batch_norms(module, norm_cfg):
    """Put another kind of batch norm in the place of all batch norms of a network of timm, torchvision or a user.

    Args:
        module (nn.Module): The network, changed in place.
        norm_cfg (dict): `type` ('SyncBN' or 'SplitBN') and its arguments. Tensors, their names, and eps and momentum
            that are not given stay.

    Returns:
        nn.Module: The network; a new module where it is itself a batch norm.

    Raises:
        ConfigError: Another kind of norm.
    """
    kinds = _KINDS.get(norm_cfg.get('type'))
    if kinds is None:
        raise ConfigError(f'norm_cfg puts another batch norm in the place of those of a network: type must be '
                          f'{" or ".join(_KINDS)}, got {norm_cfg!r}')
    for name, child in module.named_children():
        setattr(module, name, convert_batch_norms(child, norm_cfg))
    if not isinstance(module, _BatchNorm):
        return module
    options = {key: value for key, value in norm_cfg.items() if key not in ('type', 'requires_grad')}
    activated = hasattr(module, 'act')
    new = kinds[activated](module.num_features,
                           **dict(dict(eps=module.eps, momentum=module.momentum, affine=module.affine), **options))
    if activated:
        new.drop, new.act = module.drop, module.act
    for store in ('_parameters', '_buffers'):
        getattr(new, store).update(getattr(module, store))
    if not norm_cfg.get('requires_grad', True):
        for weight in new.parameters():
            weight.requires_grad_(False)
    return new.train(module.training)


def keep_statistics(module):
    """Put the batch norms of a network, which is in training mode, into evaluation mode (`norm_eval` of backbones)."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
