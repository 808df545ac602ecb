# Copyright (c) mmssl contributors. All rights reserved.
"""Everything that knows of several processes. Each function is a no-op, or the identity, in one process."""
import atexit
import datetime
import functools
import os
import platform
import time

import torch
import torch.distributed as dist

from .errors import ConfigError
from .launch import VARIABLES, LaunchError, die_with_parent, find_launcher
from .launch_variables import meeting_point, ranks, set_ranks, set_variables
from .rendezvous import meet

LAUNCHERS = ('none', *VARIABLES)


def is_distributed():
    """Whether a process group of this library's users exists."""
    return dist.is_available() and dist.is_initialized()


def get_dist_info():
    """Rank of this process and the number of processes, (0, 1) without a process group."""
    if is_distributed():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def get_rank():
    return get_dist_info()[0]


def get_world_size():
    return get_dist_info()[1]


_device = None  # that of use_device
_patience = 600.  # see patience


def use_device(device):
    """Have default_device give this device from now on, such as that of an option --device; None changes nothing.

    Raises:
        ConfigError: There is no such device.
    """
    global _device
    if device is None:
        return
    try:
        _device = torch.device(device)
    except RuntimeError:
        raise ConfigError(f'--device {device} is no device; such as cuda:0 or cpu') from None
    if _device.type == 'cuda' and (_device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(f'--device {device}: there ' +
                          (f'are {found} GPUs here' if found else 'is no GPU here; leave '
                           'the option out, or use cpu'))


def default_device():
    """The device to compute on: that of use_device, else this process's GPU where there is one, else the CPU."""
    if _device is not None:
        return _device
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())
    return torch.device('cpu')


def master_only(func):
    """Decorator: run on rank 0 only, return None elsewhere."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        return func(*args, **kwargs) if get_rank() == 0 else None

    return wrapper


def init_dist(launcher='none',
              backend=None,
              port=None,
              env=None,
              init_method=None,
              rank=None,
              world_size=None,
              timeout=None,
              **kwargs):
    """Join the process group that a launcher has prepared.

    Args:
        launcher (str): 'pytorch' (torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), 'slurm'
            (srun sets SLURM_*) or 'mpi' (mpirun sets OMPI_COMM_WORLD_* or PMI_*). 'none' is the one whose variables
            tell of several processes, and does nothing where there is none.
        backend (str, optional): 'nccl' or 'gloo'. Without a GPU 'gloo' is used whatever is asked for.
        port (int, optional): Port of the meeting where the launcher gives none.
        env (dict[str, str], optional): Variables of NCCL, gloo and their networks, such as NCCL_DEBUG. One that the
            environment has stays.
        init_method (str, optional): Where to meet: 'tcp://10.0.0.1:29500' or 'file:///shared/name'. By default
            MASTER_ADDR and MASTER_PORT.
        rank, world_size (int, optional): Of processes that no launcher has started.
        timeout (float | timedelta, optional): Seconds for the meeting, ten minutes by default, and for which a process
            may keep the others waiting, see Watchdog. Collective calls have a quarter more, so that it can tell first
            who is late.
        kwargs: Passed on to torch.distributed.init_process_group.

    Returns:
        str: Words for the log about who has met; '' in one process.

    Raises:
        ValueError: Unknown launcher or backend, or settings that contradict each other.
        LaunchError: The environment variables of the launcher are absent, or the processes do not meet.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f'launcher must be one of {LAUNCHERS}, got {launcher!r}')
    if backend not in (None, 'nccl', 'gloo', 'mpi'):
        raise ConfigError(f"dist_params.backend is 'nccl' or 'gloo', got {backend!r}")
    if launcher == 'none':
        launcher = find_launcher()[0]
    if rank is not None or world_size is not None:
        set_ranks(launcher, rank, world_size)
        launcher = 'pytorch'
    if launcher == 'none' or is_distributed():
        return ''
    set_variables(env or {})
    if launcher == 'pytorch' and 'TORCHELASTIC_RUN_ID' in os.environ:
        die_with_parent()  # which is torchrun; srun and mpirun end their processes themselves
    rank, world_size, local_rank = ranks(launcher)
    if init_method is None or init_method.startswith('env:'):
        init_method = f'tcp://{meeting_point(launcher, port)}'
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = backend or 'nccl'
    else:
        backend = 'gloo'
    if isinstance(timeout, (int, float)):
        if not timeout > 0:
            raise ConfigError(f'dist_params.timeout is a positive number of seconds, got {timeout!r}')
        timeout = datetime.timedelta(seconds=timeout)
    global _patience
    _patience = timeout.total_seconds() if timeout else _patience
    start = time.monotonic()
    store, hosts = meet(init_method, rank, world_size, timeout or datetime.timedelta(minutes=10))
    try:
        dist.init_process_group(
            backend,
            store=store,
            rank=rank,
            world_size=world_size,
            timeout=timeout and timeout * 1.25 + datetime.timedelta(seconds=5),
            **kwargs)
    except (ValueError, RuntimeError) as error:
        raise LaunchError(f'rank {rank} of {world_size} has met the others at {init_method}, but cannot join them by '
                          f'{backend}: {str(error).splitlines()[0]}') from error
    # a process that ends with the threads of its group alive is sometimes aborted
    atexit.register(_leave_group)
    names = list(dict.fromkeys(hosts))
    return (f'{world_size} processes on {len(names)} machine{"s" * (len(names) > 1)} ({", ".join(names[:8])}'
            f'{", ..." if len(names) > 8 else ""}) have met at {init_method} in '
            f'{time.monotonic() - start:.1f} s; they communicate by {backend}')


def patience():
    """Seconds for which a process may keep the others waiting: dist_params.timeout."""
    return _patience


def _leave_group():
    if is_distributed():
        dist.destroy_process_group()


def leave_together():
    """Leave the process group, if there is one, when all processes are about to.

    One that ends early may take the connections of the others along, which then abort in gloo's threads.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def barrier(group=None, patient=False):
    """Wait for all processes; with `patient` as in broadcast_object."""
    if is_distributed():
        dist.barrier(_patient_group() if patient else group)


def broadcast(tensor, src=0):
    """Overwrite `tensor` on every rank by that of rank `src`; returns it."""
    if is_distributed():
        dist.broadcast(tensor, src)
    return tensor


@functools.lru_cache
def _group_of_all(world, purpose, timeout=None):
    """A further gloo group of all processes, one for each purpose as long as they are together."""
    return dist.new_group(backend='gloo', timeout=timeout)


def background_group():
    """All processes, for a thread that exchanges messages beside the training; None for one process.

    The first call is a collective one.
    """
    return _group_of_all(dist.group.WORLD, 'background') if is_distributed() else None


def _patient_group():
    return _group_of_all(dist.group.WORLD, 'patient', datetime.timedelta(days=1))


def broadcast_object(obj, src=0, patient=False, group=None):
    """The picklable object of rank `src`, on every rank.

    Args:
        obj: The object; of the other ranks anything.
        src (int): Where it comes from.
        patient (bool): Wait for up to a day, for what one rank works on alone. Else the others give up after the
            timeout of the process group, which is ten minutes with NCCL.
        group (ProcessGroup, optional): Of all processes, which carries it.
    """
    if not is_distributed():
        return obj
    box = [obj]
    if patient:
        group = _patient_group()
    dist.broadcast_object_list(box, src, group)
    return box[0]


def all_gather_object(obj):
    """List of the objects of all ranks, in rank order."""
    if not is_distributed():
        return [obj]
    out = [None] * get_world_size()
    dist.all_gather_object(out, obj)
    return out


def processes_of_a_node(world_size):
    """Number of processes on each machine. A collective call.

    Args:
        world_size (int): Number of all processes.

    Raises:
        ConfigError: The machines have unlike numbers of them, or their ranks do not follow each other.
    """
    hosts = all_gather_object(platform.node()) if is_distributed() else [platform.node()] * world_size
    size = hosts.count(hosts[0])
    groups = [hosts[i:i + size] for i in range(0, len(hosts), size)]
    if any(group != [group[0]] * size for group in groups) or len({group[0] for group in groups}) < len(groups):
        raise ConfigError(f'each machine needs equally many processes, with ranks that follow each other; they are on '
                          f'{hosts}')
    return size


def neighbours_group(size):
    """The process group of this process and its neighbours, when ranks are cut into groups of one size.

    The first call with a size is a collective one; the group is kept.

    Args:
        size (int): Processes of a group, whose ranks follow each other: 0 takes all, as does any number that is not
            less than theirs; -1 those of one machine.

    Returns:
        ProcessGroup | None: None stands for all processes, and for one.

    Raises:
        ConfigError: The number of processes is no multiple of the size.
    """
    return _neighbours_group(size, dist.group.WORLD) if get_world_size() > 1 else None


@functools.lru_cache
def _neighbours_group(size, world):
    rank, world_size = get_dist_info()
    size = processes_of_a_node(world_size) if size == -1 else size or world_size
    if size >= world_size:
        return None
    if world_size % size:
        raise ConfigError(f'{world_size} processes cannot be cut into groups of {size} (group_size)')
    # each process takes part in the making of each group
    groups = [dist.new_group(range(first, first + size)) for first in range(0, world_size, size)]
    return groups[rank // size]


def all_reduce_sum(tensor):
    """Sum over ranks, in place, without gradient; returns `tensor`."""
    if is_distributed():
        dist.all_reduce(tensor)
    return tensor


def all_reduce_max(tensor):
    """Maximum over ranks, in place, without gradient; returns `tensor`. Backends may lose a NaN of another rank."""
    if is_distributed():
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def reduce_mean(tensor):
    """Mean over ranks of a float tensor, without gradient."""
    return all_reduce_sum(tensor.detach().clone()) / get_world_size()


@torch.no_grad()
def concat_all_gather(tensor):
    """Tensors of one shape from all ranks, concatenated along dim 0 in rank order, without gradient."""
    if not is_distributed():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def gather_variable(tensor):
    """As concat_all_gather, for tensors whose first dimension differs from rank to rank.

    Returns:
        list[Tensor]: One tensor a rank.
    """
    if not is_distributed():
        return [tensor]
    sizes = concat_all_gather(torch.tensor([len(tensor)], device=tensor.device)).tolist()
    padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])
    padded[:len(tensor)] = tensor
    parts = concat_all_gather(padded).split(max(sizes)) if max(sizes) else [padded] * len(sizes)
    return [part[:size] for part, size in zip(parts, sizes)]


class GatherLayer(torch.autograd.Function):
    """The tensors of all ranks, a tuple in rank order as in MMSelfSup, with the full gradient.

    Every rank's loss may depend on this rank's tensor, so the gradients are summed over ranks before this rank's
    slice is taken. With the mean over ranks that DDP takes afterwards, a loss averaged over local anchors has the
    gradient of the same loss over the global batch.
    """

    @staticmethod
    def forward(ctx, tensor, group=None):
        ctx.group = group
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group) if is_distributed() else 1)]
        if is_distributed():
            dist.all_gather(parts, tensor.contiguous(), group)
        else:
            parts[0].copy_(tensor)
        return tuple(parts)

    @staticmethod
    def backward(ctx, *grads):
        grads = torch.stack(grads)
        if not is_distributed():
            return grads[0], None
        dist.all_reduce(grads, group=ctx.group)
        return grads[dist.get_rank(ctx.group)], None


def gather_with_grad(tensor, group=None):
    """Differentiable concatenation over the ranks of a group, by default all; the identity in one process. See
    GatherLayer."""
    return torch.cat(GatherLayer.apply(tensor, group)) if get_world_size() > 1 else tensor


class _AllReduceSum(torch.autograd.Function):

    @staticmethod
    def forward(ctx, tensor):
        return all_reduce_sum(tensor.clone())

    @staticmethod
    def backward(ctx, grad):
        return all_reduce_sum(grad.clone())


def all_reduce_sum_with_grad(tensor):
    """Differentiable sum over ranks: the gradient is summed over ranks too, since each rank's loss uses the sum."""
    return _AllReduceSum.apply(tensor) if get_world_size() > 1 else tensor


def sync_random_seed(seed=None, device=None):
    """One seed for all ranks: the given one, else one drawn by rank 0.

    Args:
        seed (int, optional): Returned as it is.
        device: Accepted for compatibility; the collective chooses its own.

    Returns:
        int: The seed.
    """
    if seed is not None:
        return seed
    return broadcast_object(int.from_bytes(os.urandom(4), 'little') & 0x7fffffff)


@torch.no_grad()
def rand_rows(rows, columns, device):
    """Uniform random numbers for the samples of this process.

    Where all processes are seeded alike, these are the rows that one process with all samples would draw for them.

    Args:
        rows (int): Samples of this process; the same number in each.
        columns (int): Numbers a sample.
        device (torch.device): Where.

    Returns:
        Tensor: rows x columns, float32.
    """
    rank, world_size = get_dist_info()
    return torch.rand(world_size * rows, columns, device=device)[rank * rows:(rank + 1) * rows]


@torch.no_grad()
def batch_shuffle_ddp(x):
    """Shuffle a batch over all ranks, so that batch-norm statistics do not tell which samples belong together.

    Args:
        x (Tensor): N x ..., of the same N on each rank.

    Returns:
        tuple[Tensor, Tensor]: This rank's N samples of the shuffled batch, and the indices that undo it.
    """
    gathered = concat_all_gather(x)
    order = broadcast(torch.randperm(len(gathered), device=x.device))
    mine = order.view(get_world_size(), -1)[get_rank()]
    return gathered[mine], torch.argsort(order)


@torch.no_grad()
def batch_unshuffle_ddp(x, idx_unshuffle):
    """Undo batch_shuffle_ddp: this rank's samples in their first order."""
    gathered = concat_all_gather(x)
    return gathered[idx_unshuffle.view(get_world_size(), -1)[get_rank()]]
