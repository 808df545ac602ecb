# Copyright (c) mmssl contributors. All rights reserved.
"""Weights in half precision, beside which the optimizer steps copies in float32."""
import torch
from torch import nn

from mmssl.utils.dist import broadcast
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import master_of

_LAYERS = nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention


def _halved(model):
    """Weights that autocast would convert in each forward pass: those of linear layers and convolutions, but no biases.

    Frozen ones stay too, such as those of momentum encoders, which gather changes that are below the steps of half
    precision.
    """
    found = {}
    for module in model.modules():
        if isinstance(module, _LAYERS):
            for weight in module.parameters(recurse=False):
                if weight.requires_grad and weight.dim() > 1 and weight.dtype == torch.float32:
                    found[id(weight)] = weight
    return found


def keep_master_weights(model, optimizer, dtype):
    """Convert the weights of a model to half precision, and have the optimizer step copies of them in float32.

    Such a weight has its copy as its attribute `master`. The state_dict of the model has the copies, and loading one
    fills both. The forward pass still needs autocast, for what is not converted: norms, biases, tokens, positions.

    Args:
        model (nn.Module): An algorithm on its device, not wrapped.
        optimizer (torch.optim.Optimizer): Its optimizer, before the first step.
        dtype (torch.dtype): torch.bfloat16 or torch.float16.

    Returns:
        int: Number of values that are in half precision.

    Raises:
        ConfigError: The model has no such weights that are trained.
    """
    halved = _halved(model)
    for group in optimizer.param_groups:
        for i, weight in enumerate(group['params']):
            if id(weight) in halved:
                weight.master = group['params'][i] = nn.Parameter(broadcast(weight.detach().clone()))
                weight.data = weight.data.to(dtype)
    count = sum(weight.numel() for weight in halved.values() if hasattr(weight, 'master'))
    if not count:
        raise ConfigError(f'amp.master_weights: this {type(model).__name__} has no weights of linear layers or '
                          'convolutions that are trained in float32')
    model.register_state_dict_post_hook(_save)
    model.register_load_state_dict_pre_hook(_load)
    model.register_load_state_dict_post_hook(_load_others)
    return count


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
