# Copyright (c) mmssl contributors. All rights reserved.
"""Batch normalisation over several processes (on any device) and over parts of a batch."""
import torch
from mmcv.cnn import NORM_LAYERS
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl.utils.dist import gather_with_grad, get_world_size, neighbours_group
from mmssl.utils.errors import ConfigError


@NORM_LAYERS.register_module('SyncBN', force=True)
class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm with the statistics of several processes.

    In one process it is plain batch norm, on a GPU torch's own kernel; torch has none for several processes on CPUs,
    so this class computes that case itself. Takes N x C or N x C x ... tensors.

    Args:
        num_features (int): Channels.
        eps (float): Added to variances.
        momentum (float | None): Weight of a batch in the running statistics; None for a cumulative average.
        affine (bool): Whether there are a scale and a shift.
        track_running_stats (bool): Whether there are running statistics.
        group_size (int): Processes, with ranks that follow each other, which have their statistics in common: 0 takes
            all, -1 those of one machine, between which the way is short. A number that is not less than that of all
            processes takes all.

    Raises:
        ConfigError: Another `group_size`, or, in the first training pass, one that does not divide the processes.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, group_size=0):
        if type(group_size) is not int or group_size < -1:
            raise ConfigError('group_size is a number of processes, 0 for all or -1 for those of one machine, got '
                              f'{group_size!r}')
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.group_size = group_size

    def forward(self, x):
        if not self.training or get_world_size() == 1:
            # torch's forward refuses CPUs wherever there is a process group, even of one process
            return super().forward(x) if x.is_cuda else _BatchNorm.forward(self, x)
        group = neighbours_group(self.group_size)
        if x.is_cuda:
            self.process_group = group
            try:
                return super().forward(x)
            finally:
                self.process_group = None  # a module that holds a group cannot be copied
        return self._on_cpu(x, group)

    def _on_cpu(self, x, group):
        kind = x.dtype
        x = x.to(torch.promote_types(kind, torch.float32))
        dims = [d for d in range(x.dim()) if d != 1]
        var, mean = torch.var_mean(x, dims, correction=0)
        count = mean.new_tensor([x.numel() // x.shape[1]])
        # one collective forward and one backward carry everything: W rows of mean, variance and count
        rows = gather_with_grad(torch.cat([mean, var, count])[None], group)
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


def convert_batch_norms(module, norm_cfg, done=None):
    """Put another kind of batch norm in the place of all batch norms of a network of timm, torchvision or a user.

    Args:
        module (nn.Module): The network, changed in place.
        norm_cfg (dict): `type` ('SyncBN' or 'SplitBN') and its arguments. Tensors, their names, and eps and momentum
            that are not given stay.
        done (dict, optional): Modules that have been converted, by their ids; of the recursion.

    Returns:
        nn.Module: The network; a new module where it is itself a batch norm.

    Raises:
        ConfigError: Another kind of norm.
    """
    kinds = _KINDS.get(norm_cfg.get('type'))
    if kinds is None:
        raise ConfigError(f'norm_cfg puts another batch norm in the place of those of a network: type must be '
                          f'{" or ".join(_KINDS)}, got {norm_cfg!r}')
    done = {} if done is None else done  # a module may stand in two places
    for name, child in module.named_children():
        if id(child) not in done:
            done[id(child)] = convert_batch_norms(child, norm_cfg, done)
        setattr(module, name, done[id(child)])
    if not isinstance(module, _BatchNorm):
        return module
    options = {key: value for key, value in norm_cfg.items() if key not in ('type', 'requires_grad')}
    activated = hasattr(module, 'act')
    own = {key: getattr(module, key) for key in ('eps', 'momentum', 'affine', 'track_running_stats')}
    if kinds[activated] is SplitBatchNorm or kinds[activated] is SplitBatchNormAct:
        del own['track_running_stats']
    new = kinds[activated](module.num_features, **dict(own, **options))
    if activated:
        new.drop, new.act = module.drop, module.act
    for store in ('_parameters', '_buffers'):
        getattr(new, store).update(getattr(module, store))
    if not norm_cfg.get('requires_grad', True):
        for weight in new.parameters():
            weight.requires_grad_(False)
    return new.train(module.training)


def synchronise_batch_norms(model, group_size=0):
    """Have all batch norms of a model compute with the statistics of several processes. Weights keep their names.

    Args:
        model (nn.Module): Changed in place; teachers and momentum encoders too, so that they stay copies.
        group_size (int): See SyncBatchNorm.

    Returns:
        nn.Module: The model.

    Raises:
        ConfigError: There is no batch norm, or one that the conversion would change: SplitBN, which is the opposite,
            or a class of a user's.
    """
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    if not norms:
        raise ConfigError(f'sync_bn: there is no batch norm in this {type(model).__name__}')
    for name, norm in norms.items():
        if isinstance(norm, SplitBatchNorm):
            raise ConfigError(
                f'sync_bn joins the statistics of processes, and {name} is a SplitBN, which divides those '
                'of one: keep one of them')
        timm = hasattr(norm, 'act') and hasattr(norm, 'drop')
        if not timm and type(norm).forward not in (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward,
                                                   SyncBatchNorm.forward):
            raise ConfigError(f'sync_bn cannot convert {name}, a {type(norm).__module__}.{type(norm).__name__} with a '
                              'forward pass of its own')
    return convert_batch_norms(model, dict(type='SyncBN', group_size=group_size))


def keep_statistics(module):
    """Put the batch norms of a network, which is in training mode, into evaluation mode (`norm_eval` of backbones)."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
