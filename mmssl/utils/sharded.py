# Copyright (c) mmssl contributors. All rights reserved.
"""Tensors of which each process holds a part (torch's DTensor, as FSDP makes of parameters), and plain ones alike."""
import contextlib
import math

import torch
import torch.distributed as dist

from .master_weights import master_of


def is_sharded(tensor):
    """Whether a value is a tensor of which processes hold parts."""
    return isinstance(tensor, torch.Tensor) and hasattr(tensor, 'device_mesh')


def local(tensor):
    """The part of a tensor that this process holds, which shares its memory; a plain tensor itself."""
    return tensor.detach().to_local() if is_sharded(tensor) else tensor


def _group(tensor):
    """The processes that together hold a sharded tensor."""
    dim = next((dim for dim, placement in enumerate(tensor.placements) if placement.is_shard()), 0)
    return tensor.device_mesh.get_group(dim)


@torch.no_grad()
def norms(tensors, order=2.):
    """The norm of each tensor, all of it, wherever its parts lie. A collective call where any tensor is sharded.

    Args:
        tensors (list[Tensor]): Of one device; in the same order on each process.
        order (float): Which norm. With infinity, a NaN in a sharded tensor gives infinity, as not all backends carry
            a NaN through a maximum.

    Returns:
        Tensor: One number a tensor.
    """
    sharded = [is_sharded(tensor) for tensor in tensors]
    if not any(sharded):
        return torch.stack(torch._foreach_norm(tensors, order))
    group = _group(tensors[sharded.index(True)])
    # a norm of nothing is 0, and the largest value of nothing an error
    parts = [part if part.numel() else part.new_zeros(1) for part in map(local, tensors)]
    found = torch.stack(torch._foreach_norm(parts, order))
    if order == math.inf:
        found = found.nan_to_num(nan=math.inf, posinf=math.inf)
        dist.all_reduce(found, dist.ReduceOp.MAX, group)
        return found
    found = found**order
    if not all(sharded) and dist.get_rank(group):  # the first process of the group counts the plain ones
        found[torch.tensor([not part for part in sharded], device=found.device)] = 0
    dist.all_reduce(found, group=group)
    return found**(1 / order)


def shard_like(tensor, like):
    """A whole tensor, equal on all processes, in the way in which another one lies on devices and processes.

    Args:
        tensor (Tensor): The tensor; a sharded one is returned as it is.
        like (Tensor): One of the same shape, sharded or not.

    Returns:
        Tensor: On the device of `like`, in the type of `tensor`.
    """
    if is_sharded(tensor) or not is_sharded(like):
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def convert_tensors(value, function):
    """Nested dicts, lists and tuples with `function(tensor)` in the place of each tensor."""
    if isinstance(value, torch.Tensor):
        return function(value)
    return convert(value, lambda entry, place: function(entry) if isinstance(entry, torch.Tensor) else entry)


def convert(value, function, place=''):
    """Nested dicts, lists and tuples with `function(entry, place)` for all else; places are such as 'meta/iter'."""
    if isinstance(value, dict):
        entries = {key: convert(entry, function, f'{place}/{key}'.lstrip('/')) for key, entry in value.items()}
        new = entries if type(value) is dict else type(value)(entries)
        if hasattr(value, '_metadata'):  # versions, beside the weights of a state_dict
            new._metadata = value._metadata
        return new
    if type(value) in (list, tuple):
        return type(value)(convert(entry, function, f'{place}/{i}') for i, entry in enumerate(value))
    return function(value, place)


def whole(value, keep=True):
    """Nested dicts and lists with whole tensors, in the memory of the host, in the place of sharded ones.

    A collective call: all processes gather one tensor after the other.

    Args:
        value: Dicts, lists, tensors and other things.
        keep (bool): Whether this process wants the tensors; else they are empty, which saves the memory.

    Returns:
        The same, of plain tensors.
    """

    def gather(tensor):
        if not is_sharded(tensor):
            return tensor
        full = tensor.detach().full_tensor()
        return full.cpu() if keep else full.new_empty(0)

    return convert_tensors(value, gather)


def sharded_modules(model):
    """The modules of a network whose parameters FSDP handles together."""
    return [module for module in model.modules() if hasattr(module, 'set_requires_gradient_sync')]


def note_shards(model):
    """Have `changeable` find the shards of a network also while it computes with gathered parameters."""
    for module in model.modules():
        vars(module)['_shards'] = {name: p for name, p in module._parameters.items() if p is not None}


def _parameters(networks, buffers=False):
    """The parameters of networks, each as its part here and the copy that is computed with, None if it is not gathered.

    Buffers follow after the parameters of each network.
    """
    for network in networks:
        seen = set()
        for module in network.modules():
            shards = vars(module).get('_shards', {})
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    shard = shards.get(name, parameter)
                    yield local(master_of(shard).detach()), None if shard is parameter else parameter.detach()
        if buffers:
            yield from ((buffer, None) for buffer in network.buffers())


def changeable(*networks):
    """The tensors to change in place for a change of parameters row by row.

    Of a sharded parameter that is its part here, and in the midst of a forward pass also the gathered copy that is
    computed with: what is done to both alike leaves them equal, without an exchange between processes. In a forward
    pass the parts that are not gathered yet need `wait_for_changes` afterwards. Of a parameter in half precision it is
    the copy in float32 that the optimizer steps: call `update_weights` after a change.

    Args:
        networks (nn.Module): Networks.

    Yields:
        Tensor: Without gradient.
    """
    for part, copy in _parameters(networks):
        yield part
        if copy is not None:
            yield copy


def changeable_pairs(targets, sources, buffers=False):
    """As `changeable`, for a change by the parameters of other networks of the same structure, value by value.

    Args:
        targets (Iterable[nn.Module]): Networks to change.
        sources (Iterable[nn.Module]): As many others.
        buffers (bool): Whether the buffers are among the tensors.

    Returns:
        tuple[list[Tensor], list[Tensor]]: Tensors of the targets, and those of the sources in their order.
    """
    pairs = []
    for (part, copy), (source, source_copy) in zip(
            _parameters(targets, buffers), _parameters(sources, buffers), strict=True):
        pairs.append((part, source))
        if copy is not None:  # targets are not gathered without their sources, which have the longer use
            pairs.append((copy, source_copy))
    return [target for target, _ in pairs], [source for _, source in pairs]


def wait_for_changes(*modules):
    """Have a GPU gather parameters only after the changes that have been queued by now, in a forward pass."""
    for network in modules:
        for module in sharded_modules(network):
            if torch.cuda.is_available():
                streams = module._get_fsdp_state()._comm_ctx  # torch waits for the optimizer alone by itself
                for stream in (streams.all_gather_copy_in_stream, streams.all_gather_stream):
                    stream.wait_stream(torch.cuda.current_stream())
            return


@contextlib.contextmanager
def gathered(model, device='cpu'):
    """Context in which a network has whole parameters, of which what is written to them is kept.

    For loading weights: each process must write the same. The network cannot compute then.

    Args:
        model (nn.Module): Sharded or not; nothing is done to plain parameters.
        device (str | None): Where the whole parameters are; None leaves them on the device of the parts.
    """
    places, copies = [], {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if is_sharded(parameter):
                if id(parameter) not in copies:
                    full = parameter.detach().full_tensor().to(device)
                    copies[id(parameter)] = torch.nn.Parameter(full, parameter.requires_grad)
                places.append((module, name, parameter))
    for module, name, parameter in places:
        module._parameters[name] = copies[id(parameter)]
    owners = {id(module): module for module, _, _ in places}.values()
    hooks = [(module, module._load_state_dict_post_hooks) for module in owners]
    for module, known in hooks:  # torch's own look for sharded parameters after loading
        module._load_state_dict_post_hooks = type(known)(
            (key, hook) for key, hook in known.items() if not hook.__module__.startswith('torch.distributed.fsdp'))
    try:
        yield
    finally:
        for module, known in hooks:
            module._load_state_dict_post_hooks = known
        for module, name, parameter in places:
            with torch.no_grad():
                local(parameter).copy_(local(shard_like(module._parameters[name].detach(), parameter)))
            module._parameters[name] = parameter


@contextlib.contextmanager
def unsharded(model):
    """Context in which a network has all its parameters on each process, as an evaluation of it or its parts needs.

    A collective call; what runs within need not do the same on each process. Parameters must not be changed.

    Args:
        model (nn.Module): The whole model, sharded or not.
    """
    groups = sharded_modules(model)
    held, model_held = [], getattr(model, 'holds_parameters', False)
    if groups and not model_held:
        model.holds_parameters = True
        for module in groups:
            held.append(module)
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
    try:
        yield
    finally:
        if held:
            model.holds_parameters = False
        for module in held:
            module.set_reshard_after_forward(module.frees_parameters, recurse=False)
            module.reshard()
