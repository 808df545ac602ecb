# Copyright (c) mmssl contributors. All rights reserved.
"""What a process holds of a training with DistributedDataParallel, ZeRO and FSDP, and whether they compute the same."""
import torch

from mmssl.core.parallel import make_trainable
from mmssl.models import build_algorithm
from mmssl.utils.dist import all_gather_object, get_rank
from mmssl.utils.sharded import convert_tensors, local, whole
from .step import Stopwatch, random_batch

KINDS = dict(ddp=None, zero=dict(type='zero'), fsdp=dict(type='fsdp'))


def held_bytes(model, optimizer):
    """Bytes of this process's tensors.

    Args:
        model (nn.Module): Wrapped or not, after an iteration.
        optimizer (torch.optim.Optimizer): Its optimizer.

    Returns:
        dict[str, int]: `parameters`, `gradients`, `optimizer` (its state) and `buffers`.
    """

    def size(tensors):
        storages = [tensor.untyped_storage() for tensor in map(local, tensors)]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())  # some share one

    states = []
    convert_tensors(list(getattr(optimizer, 'optim', optimizer).state.values()), states.append)
    parameters = list(model.parameters())
    return dict(
        parameters=size(parameters),
        gradients=size([p.grad for p in parameters if p.grad is not None]),
        optimizer=size(states),
        buffers=size(model.buffers()))


def measure_sharding(cfg, kind, batch_size, size, iters, device, double=False):
    """Train on noise for some iterations. A collective call.

    Args:
        cfg (mmcv.Config): The config; `sharding` is set to the kind.
        kind (str): Of KINDS.
        batch_size (int): Images of each process.
        size (int): Height and width of the images.
        iters (int): Iterations; the seconds are those of all but the first.
        device (torch.device): Of this process.
        double (bool): Whether to compute in float64, in which differences between kinds are those of methods.

    Returns:
        dict: `bytes` of each process (see held_bytes), `losses` of this one, `seconds` an iteration, on a GPU `peak`,
        the most bytes that were allocated; and on rank 0 the final `weights`, on the CPU.
    """
    torch.manual_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    cfg.sharding = KINDS[kind]
    model, optimizer = make_trainable(model.double() if double else model, cfg, device, True)
    model.train()
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    losses, watch = [], Stopwatch(device)
    for i in range(iters):
        torch.manual_seed(1000 * i + get_rank())
        batch = random_batch(cfg, batch_size, size, device)
        if double:
            batch = convert_tensors(batch, lambda t: t.double() if t.is_floating_point() else t)
        if i == 1:
            watch.seconds = 0.
        with watch:
            loss = model.train_step(batch, optimizer)['loss']
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            inner = getattr(model, 'module', model)
            if hasattr(inner, 'momentum_update'):
                inner.momentum_update()
        losses.append(float(loss.detach()))
    found = dict(
        losses=losses,
        seconds=watch.seconds / max(1, iters - 1),
        bytes=all_gather_object(held_bytes(model, optimizer)),
        weights=whole(getattr(model, 'module', model).state_dict(),
                      get_rank() == 0))
    if device.type == 'cuda':
        found['peak'] = max(all_gather_object(torch.cuda.max_memory_allocated(device)))
    return found


def farthest(weights, others):
    """Name and size of the largest difference of two state_dicts, relative to the largest value of the tensor.

    Differences of tensors that are zero but for rounding, such as biases before a batch norm, count by a largest value
    of 0.001.
    """
    found = {
        name: float((value.double() - others[name].double()).abs().max() / (1e-3 + value.double().abs().max()))
        for name, value in weights.items() if value.numel()
    }
    return max(found.items(), key=lambda item: item[1])
