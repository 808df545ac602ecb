# Copyright (c) mmssl contributors. All rights reserved.
"""Activation checkpointing: the blocks of any network keep nothing but their inputs for the backward pass."""
from collections import Counter
from functools import partial

from torch import nn

from mmssl.models import TorchvisionBackbone
from mmssl.models.utils.recompute import recompute
from mmssl.utils.errors import ConfigError, nearest

_SEQUENCES = (nn.Sequential, nn.ModuleList)


def _is_block(module):
    """Whether a module has several layers with weights, and is no mere sequence of modules."""
    weights = [1 for part in module.modules() if any(weight.dim() > 1 for weight in part.parameters(recurse=False))]
    return len(weights) > 1 and not isinstance(module, _SEQUENCES)


def _rows(network):
    """Rows of blocks: the layers of a transformer, a stage of a ResNet.

    Rows are sequences of blocks, sequences with two blocks of one class among other modules (MobileNets), and stages of
    timm's RegNet and DenseNet, which are no sequences, but have numbered blocks of one class and nothing else.

    Returns:
        dict[str, list[str]]: Names of the blocks by the name of their row.
    """
    rows, kinds = {}, set()
    for name, module in network.named_modules():
        children = dict(module.named_children())
        blocks = [child for child in children if _is_block(children[child])]
        most = Counter(type(children[child]) for child in blocks).most_common(1)
        if not blocks:
            continue
        if isinstance(module, _SEQUENCES):
            if len(blocks) == len(children) or most[0][1] > 1:
                rows[name] = blocks
        elif all(child[-1].isdigit() for child in children):
            if most[0][1] == len(children) > 1:
                kinds.add(type(module))
    # stages with one block too, where others of their class have several
    rows.update((name, [child for child, _ in module.named_children()]) for name, module in network.named_modules()
                if type(module) in kinds)
    return rows


def _blocks(network):
    """Blocks in rows that have no other row in them, by name."""
    rows = _rows(network)
    names = {f'{row}.{block}' if row else block for row, blocks in rows.items() for block in blocks}
    return {
        name: block
        for name, block in network.named_modules(remove_duplicate=False)
        if name in names and not any(row == name or row.startswith(f'{name}.') for row in rows)
    }


def find_blocks(model):
    """The residual blocks and transformer layers of a model that are trained, in the order of its modules.

    Networks without gradient, such as momentum encoders, keep nothing and are left out.

    Args:
        model (nn.Module): Any model.

    Returns:
        dict[str, nn.Module]: By name.
    """
    found = _blocks(model)
    for name, part in model.named_modules():
        if isinstance(part, TorchvisionBackbone):
            prefix = f'{name}.' if name else ''
            found = {key: block for key, block in found.items() if not key.startswith(prefix)}
            used = {id(weight) for weight in part.parameters()}
            found.update((f'{prefix}model.{key}', block) for key, block in _blocks(part.network).items() if all(
                id(weight) in used for weight in block.parameters()))
    still = tuple(f'{name}.' for name in getattr(model, 'momentum_parts', ()))
    once = {id(block): name for name, block in reversed(found.items())}
    return {
        name: block
        for name, block in found.items()
        if once[id(block)] == name and not name.startswith(still) and any(w.requires_grad for w in block.parameters())
    }


def checkpoint_activations(model, options):
    """Have blocks of a model compute their insides again in the backward pass, instead of keeping them.

    Losses, gradients and buffers are those without. Names of weights stay.

    Args:
        model (nn.Module): Changed in place: its blocks get a `forward` of their own.
        options (bool | dict): True for all blocks, or a dict. Its `every` (int) takes each k-th block, and `share`
            (float) only the first of them up to that share; the first blocks of a ResNet or Swin have the large maps.

    Returns:
        list[str]: Names of the blocks.

    Raises:
        ConfigError: Unknown options, or a model without such blocks or whose backbone does the same by its own switch.
    """
    options = {} if options is True else dict(options)
    every, share = options.pop('every', 1), options.pop('share', 1.)
    if options:
        name = min(options)
        raise ConfigError(f'activation_checkpointing has no option {name!r}; {nearest(name, ("every", "share"))}')
    if type(every) is not int or every < 1:
        raise ConfigError(f'activation_checkpointing.every takes each k-th block, k from 1 on, got {every!r}')
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ConfigError(
            f'activation_checkpointing.share is a part of the blocks, above 0 and at most 1, got {share!r}')
    for name, module in model.named_modules():
        for switch in ('with_cp', 'grad_checkpointing'):
            if getattr(module, switch, False) is True:
                raise ConfigError(f'{name or "the model"} has {switch}=True, which is activation checkpointing too: '
                                  'keep one of them')
    blocks = find_blocks(model)
    if not blocks:
        raise ConfigError(
            f'activation_checkpointing: this {type(model).__name__} has no residual blocks or transformer '
            'layers that are trained')
    chosen = list(blocks)[:max(1, round(share * len(blocks)))][::every]
    for name, part in model.named_modules():
        if isinstance(part, TorchvisionBackbone):
            prefix = f'{name}.model.' if name else 'model.'
            kinds = {type(blocks[key]) for key in chosen if key.startswith(prefix)}
            if kinds:
                part.call_whole(kinds)
    for name in chosen:
        blocks[name].forward = partial(recompute, blocks[name], blocks[name].forward)
    return chosen
