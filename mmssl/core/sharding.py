# Copyright (c) mmssl contributors. All rights reserved.
"""Parameters, gradients and the optimizer's state divided among processes: FSDP, and ZeRO with DDP."""
import inspect
from collections import Counter

import torch
from torch import nn

from mmssl.utils.dist import broadcast, get_world_size
from mmssl.utils.errors import ConfigError, check_integer, nearest
from mmssl.utils.logger import get_root_logger
from mmssl.utils.registry import accepted_arguments
from mmssl.utils.sharded import note_shards, sharded_modules

# what DistributedDataParallel alone does
_OF_DDP = dict(
    find_unused_parameters='a parameter that gets no gradient on any process just stays as it is',
    broadcast_buffers='buffers are those of the first process at the start, and then as with broadcast_buffers=False',
    static_graph='FSDP has no graph to keep',
    gradient_compression="param_dtype='bfloat16' in sharding halves what is sent")
_WHOLE_WEIGHTS = ('Adafactor', 'Rprop')  # optimizers that torch has for whole tensors alone
MIN_PARAMS = 100_000
_DTYPES = dict(bfloat16=torch.bfloat16, float16=torch.float16)


def sharding_type(cfg, distributed):
    """What a config divides among processes.

    Args:
        cfg (mmcv.Config): The whole config; read is `sharding`.
        distributed (bool): Whether there are several processes.

    Returns:
        str | None: 'fsdp', 'zero', or None, also without other processes, which the log says.

    Raises:
        ConfigError: Another type, an unknown option, or settings that do not go together.
    """
    sharding = cfg.get('sharding')
    if not sharding:
        return None
    kinds = dict(fsdp=shard_model, zero=shard_optimizer)
    kind = sharding.get('type')
    if kind not in kinds:
        raise ConfigError(f"sharding.type is 'fsdp' or 'zero', got {kind!r}", sharding)
    options = [name for name in accepted_arguments(kinds[kind])[0] if name not in ('model', 'optimizer')]
    for name in sharding:
        if name not in ('type', *options):
            raise ConfigError(
                f'sharding of the type {kind!r} has no option {name!r}' +
                (f'; {nearest(name, options)}' if options else ''), sharding)
    if kind == 'fsdp':
        for name, instead in _OF_DDP.items():
            if cfg.get(name):
                raise ConfigError(f'{name} is an option of DistributedDataParallel and does not go with '
                                  f"sharding.type='fsdp': leave it out; {instead}")
    if not distributed:
        get_root_logger().warning('sharding.type=%r divides among processes, and this is the only one: it does nothing',
                                  kind)
        return None
    return kind


def options_of(sharding):
    """The options of `sharding` besides its type."""
    return {name: value for name, value in sharding.items() if name != 'type'}


def find_blocks(model, names=None, min_params=0):
    """The repeated blocks of a model's networks, such as transformer layers and residual blocks.

    These are modules with parts of their own of which two or more of one class stand in a ModuleList or Sequential;
    of those within each other the innermost.

    Args:
        model (nn.Module): The model.
        names (list[str], optional): Names of the classes of blocks instead.
        min_params (int): Numbers of parameters below which a module is no block.

    Returns:
        list[nn.Module]: In the order of the model.

    Raises:
        ConfigError: No module is of a class that is named.
    """
    if names is not None:
        blocks = [module for module in model.modules() if type(module).__name__ in names]
        absent = set(names) - {type(module).__name__ for module in blocks}
        if absent:
            raise ConfigError(f'sharding.blocks names {min(absent)!r}, and no part of the model is of that class; '
                              f'{nearest(min(absent), sorted({type(m).__name__ for m in model.modules()}))}')
        return blocks
    lists = [module for module in model.modules() if isinstance(module, (nn.ModuleList, nn.Sequential))]
    kinds = set()
    for part in lists:
        kinds.update(kind for kind, number in Counter(map(type, part)).items()
                     if number > 1 and kind not in (nn.Sequential, nn.ModuleList))
    found = {
        id(child): child
        for part in lists
        for child in part if type(child) in kinds and any(True for _ in child.children()) and sum(
            p.numel() for p in child.parameters()) > max(0, min_params - 1)
    }
    return [
        module for module in model.modules()
        if id(module) in found and not any(id(inner) in found for inner in list(module.modules())[1:])
    ]


def parts_to_compile(model, sharding=None):
    """What `compile=True` compiles: with FSDP single blocks, as a larger part would be cut where each is gathered.

    Args:
        model (nn.Module): An algorithm.
        sharding (dict, optional): Of the config.

    Returns:
        list[nn.Module]: To be compiled in place.
    """
    if sharding and sharding['type'] == 'fsdp':
        return find_blocks(model, sharding.get('blocks'), sharding.get('min_params', MIN_PARAMS))
    return model.compile_parts()


def _placement(parameter):
    """Tokens and positions, whose first size is 1, are divided where they can be: else one process had all of each."""
    from torch.distributed.tensor import Shard
    if parameter.shape[0] == 1:
        for dim, size in enumerate(parameter.shape):
            if size % get_world_size() == 0:
                return Shard(dim)
    return Shard(0)


def shard_model(model, blocks=None, min_params=MIN_PARAMS, free_after_forward=True, param_dtype=None):
    """Divide parameters, gradients and hence the optimizer's state among all processes: torch's FSDP2.

    Each process holds a part of each parameter. A block of the model has its parameters gathered while it computes,
    the rest of the model from the start of the forward pass to the end of the backward pass. Gradients are averaged
    and divided at once. Momentum encoders are divided as the networks that they follow; buffers, such as queues, are
    whole everywhere.

    Args:
        model (nn.Module): An algorithm on its device. Changed in place: its parameters are DTensors then.
        blocks (list[str] | None): Names of the classes that are gathered one by one; None finds what is repeated, see
            find_blocks.
        min_params (int): Numbers of parameters below which a block is not worth an exchange of its own.
        free_after_forward (bool): Whether blocks are freed after the forward pass and gathered again for the backward
            pass. Without it parameters take the memory of DistributedDataParallel and gradients and the optimizer's
            state are divided, as stage 2 of ZeRO (https://arxiv.org/abs/1910.02054).
        param_dtype (str | None): 'bfloat16' or 'float16' is the type in which blocks without batch norm are sent and
            compute, which halves the traffic. The parts that are kept, sums of gradients and norms stay float32. None
            sends float32; `amp` then chooses the type of each operation, with the results of
            DistributedDataParallel.

    Returns:
        nn.Module: The same model.

    Raises:
        ConfigError: An unknown type, or a parameter that cannot be divided.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    if param_dtype is not None and param_dtype not in _DTYPES:
        raise ConfigError(f"sharding.param_dtype is 'bfloat16' or 'float16', got {param_dtype!r}")
    check_integer(min_params, 'sharding.min_params', 0)
    scalars = [name for name, parameter in model.named_parameters() if parameter.dim() == 0]
    if scalars:
        raise ConfigError(f"sharding.type='fsdp' divides tensors, and the parameter {scalars[0]} is a single number: "
                          'make it a tensor of one element')
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()  # in channels_last the images alone say so
            broadcast(parameter.data)
        for buffer in model.buffers():
            broadcast(buffer)
    found = find_blocks(model, blocks, min_params)
    device = next(model.parameters()).device
    options = dict(mesh=init_device_mesh(device.type, (get_world_size(), )), shard_placement_fn=_placement)
    # what follows a block computes in float32 without amp
    low = MixedPrecisionPolicy(_DTYPES.get(param_dtype), reduce_dtype=torch.float32, output_dtype=torch.float32)
    for block in found:
        has_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in block.modules())
        policy = low if param_dtype and not has_norm else MixedPrecisionPolicy()
        # those without a backward pass, of momentum encoders, would be kept to the next iteration
        block.frees_parameters = free_after_forward or not any(p.requires_grad for p in block.parameters())
        fully_shard(block, reshard_after_forward=block.frees_parameters, mp_policy=policy, **options)
    model.frees_parameters = False
    fully_shard(model, reshard_after_forward=False, **options)
    model.register_forward_hook(_free_after_evaluation)
    model._get_fsdp_state()._lazy_init()  # else the first part that computes alone would count as the whole model
    note_shards(model)
    kinds = Counter(type(block).__name__.removeprefix('FSDP') for block in found)
    get_root_logger().info('FSDP over %d processes: %s one by one, the rest of the model together', get_world_size(),
                           ', '.join(f'{number} {kind}' for kind, number in kinds.items()) or 'no block')
    return model


def _free_after_evaluation(model, args, outputs):
    """Without a backward pass nothing else frees what was gathered for longer than a part's forward pass."""
    if not torch.is_grad_enabled() and not getattr(model, 'holds_parameters', False):
        for module in sharded_modules(model):
            module.reshard()


def check_optimizer(optimizer):
    """Refuse optimizers that cannot step weights of which each process has a part.

    Args:
        optimizer (torch.optim.Optimizer): Any, or one around another (`base`).

    Raises:
        ConfigError: It is one of these.
    """
    kind = type(getattr(optimizer, 'base', optimizer)).__name__
    if kind in _WHOLE_WEIGHTS:
        raise ConfigError(
            f"{kind} needs whole weights, which sharding.type='fsdp' divides: take another optimizer, such "
            "as AdamW, or sharding.type='zero'")


def shard_optimizer(optimizer):
    """Divide the optimizer's state among processes, by whole parameters: stage 1 of ZeRO.

    Args:
        optimizer (torch.optim.Optimizer): Any, that has made no step.

    Returns:
        torch.distributed.optim.ZeroRedundancyOptimizer: With the same groups; each process has the state of a share
        of the parameters, makes their steps, and sends them to the others.
    """
    from torch.distributed.optim import ZeroRedundancyOptimizer
    kind = type(optimizer)
    known = inspect.signature(kind).parameters
    settings = {name: value for name, value in optimizer.defaults.items() if name in known}
    return ZeroRedundancyOptimizer(optimizer.param_groups, kind, **settings)


def set_gradient_exchange(model, on):
    """Whether the next backward pass averages gradients over processes, in DistributedDataParallel and FSDP."""
    if hasattr(model, 'require_backward_grad_sync'):
        model.require_backward_grad_sync = on  # as no_sync() of DistributedDataParallel, which cannot span two hooks
    elif sharded_modules(model):
        model.set_requires_gradient_sync(on)
