# Copyright (c) mmssl contributors. All rights reserved.
"""Weights in half precision, beside which the optimizer steps those in float32."""
import torch
from torch import nn

from mmssl.utils.dist import broadcast
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import master_of

_LAYERS = nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention


def keep_master_weights(model, optimizer, dtype):
    """Put weights in half precision in the place of those in float32, which the optimizer goes on to step.

    These are the weights that autocast would convert in each forward pass: those of linear layers and convolutions,
    but no biases. Frozen ones stay too, such as those of momentum encoders, which gather changes that are below the
    steps of half precision. A weight in half precision has the other as its attribute `master`. The state_dict of the
    model has those in float32, and loading one fills both. The forward pass still needs autocast, for what is not
    converted: norms, biases, tokens, positions.

    Args:
        model (nn.Module): An algorithm on its device, not wrapped.
        optimizer (torch.optim.Optimizer): Its optimizer, before the first step.
        dtype (torch.dtype): torch.bfloat16 or torch.float16.

    Returns:
        int: Number of values that are in half precision.

    Raises:
        ConfigError: The model has no such weights that are trained.
    """
    stepped = {id(weight) for group in optimizer.param_groups for weight in group['params']}
    for module in model.modules():
        if not isinstance(module, _LAYERS):  # which may share a weight with a layer, and takes it as it is
            stepped -= {id(weight) for weight in module.parameters(recurse=False)}
    halves = {}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) in stepped and weight.dim() > 1 and weight.dtype == torch.float32:
                if id(weight) not in halves:
                    broadcast(weight.detach())  # DistributedDataParallel knows the others alone
                    halves[id(weight)] = nn.Parameter(weight.detach().to(dtype))
                    halves[id(weight)].master = weight
                setattr(module, name, halves[id(weight)])
    if not halves:
        raise ConfigError(f'amp.master_weights: this {type(model).__name__} has no weights of linear layers or '
                          'convolutions that are trained in float32')
    model.register_state_dict_post_hook(_save)
    model.register_load_state_dict_pre_hook(_load)
    model.register_load_state_dict_post_hook(_load_others)
    return sum(weight.numel() for weight in halves.values())


def _named(model):
    return [(name, p) for name, p in model.named_parameters(remove_duplicate=False) if hasattr(p, 'master')]


def _save(model, state_dict, prefix, local_metadata):
    for name, weight in _named(model):
        state_dict[prefix + name] = weight.master.detach()


@torch.no_grad()
def _load(model, state_dict, prefix, *args):
    for name, weight in _named(model):
        value = state_dict.get(prefix + name)
        if value is not None and value.shape == weight.shape:
            weight.master.copy_(value)


@torch.no_grad()
def _load_others(model, incompatible_keys):
    """What was loaded under a name that only its module knows has come to the half precision alone."""
    for _, weight in _named(model):
        if not weight.equal(weight.master.to(weight.dtype)):
            weight.master.copy_(weight)


@torch.no_grad()
def hand_gradients_over(model):
    """Move the gradients of weights in half precision to their copies in float32, before the optimizer's step."""
    for weight in model.parameters():
        master = master_of(weight)
        if master is not weight:
            master.grad = None if weight.grad is None else weight.grad.to(master.dtype)
            weight.grad = None
