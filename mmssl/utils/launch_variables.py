# Copyright (c) mmssl contributors. All rights reserved.
"""What the variables of torchrun, Slurm and MPI say of a process: its rank, and where it meets the others."""
import os
import re
import zlib

from .errors import ConfigError
from .launch import LaunchError, variables

# what is read when processes meet; all else is read when Python or a library starts
_OF_NETWORKS = ('NCCL_', 'TORCH_NCCL_', 'GLOO_', 'FI_', 'UCX_')


def set_variables(values):
    """Set variables of the environment that are not there yet.

    Args:
        values (dict[str, str | int]): dist_params.env.

    Raises:
        ConfigError: A name that is read before a config is.
    """
    for name, value in values.items():
        if not name.startswith(_OF_NETWORKS):
            raise ConfigError(f'dist_params.env is for variables {"*, ".join(_OF_NETWORKS)}*; set {name!r} in the '
                              'environment, as it is read when Python starts')
        os.environ.setdefault(name, str(value))


def set_ranks(launcher, rank, world_size):
    """Note rank and number of processes that no launcher has started, as torchrun would.

    Args:
        launcher (str): What has been found.
        rank, world_size (int | None): dist_params.rank and dist_params.world_size.

    Raises:
        ConfigError: One of them alone, or no such rank, or a launcher gives them.
    """
    if launcher != 'none':
        raise ConfigError(f'dist_params.rank={rank} and world_size={world_size} are for processes that no launcher has '
                          f'started, and {variables(launcher)[1]} is in the environment: leave them out')
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise ConfigError('dist_params has a rank from 0 to world_size - 1 and world_size, the number of processes, or '
                          f'neither: got rank={rank}, world_size={world_size}')
    import torch
    local = rank % max(1, torch.cuda.device_count())  # machines with equally many GPUs, all used
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local))


def ranks(launcher):
    """Rank of this process, number of all, and rank on this machine; torch's variables for them are set.

    Raises:
        LaunchError: The launcher's variables are absent or are no numbers.
    """
    size, rank, local = variables(launcher)
    env = os.environ
    try:
        found = int(env[rank]), int(env[size]), int(env.get(local, '0') if launcher == 'slurm' else env[local])
    except KeyError as error:
        raise LaunchError(f'launcher {launcher!r}: the environment variable {error} is not set; start the script '
                          'with tools/dist_train.sh (torchrun), srun or mpirun, or use --launcher none') from error
    except ValueError as error:
        raise LaunchError(f'the environment variables {size}, {rank} and {local} are numbers: {error}') from error
    env.update(zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), map(str, found)))
    return found


def meeting_point(launcher, port=None):
    """Address and port where the processes meet; MASTER_ADDR and MASTER_PORT are set to them.

    Args:
        launcher (str): 'pytorch', 'slurm' or 'mpi'.
        port (int, optional): Where the environment has none.

    Returns:
        str: 'HOST:PORT'.

    Raises:
        LaunchError: The launcher does not tell.
    """
    env = os.environ
    if port is not None:
        env.setdefault('MASTER_PORT', str(port))
    if launcher == 'slurm':
        # every task of a job computes the same port, jobs on one node get different ones
        env.setdefault('MASTER_PORT', str(20000 + int(env.get('SLURM_JOB_ID', 9500)) % 20000))
        if 'MASTER_ADDR' not in env:
            env['MASTER_ADDR'] = _first_slurm_host()
    elif launcher == 'mpi':
        job = env.get('PMIX_NAMESPACE')  # Open MPI's name of it
        env.setdefault('MASTER_PORT', str(20000 + zlib.crc32(job.encode()) % 12000 if job else 29500))
        here = env.get('OMPI_COMM_WORLD_LOCAL_SIZE') or env.get('MPI_LOCALNRANKS')
        if here == env['WORLD_SIZE']:
            env.setdefault('MASTER_ADDR', '127.0.0.1')
    for name in ('MASTER_ADDR', 'MASTER_PORT'):
        if not env.get(name):
            raise LaunchError(f'where do {env["WORLD_SIZE"]} processes meet? The environment has no {name}: set it to '
                              f'{"the machine of rank 0" if name == "MASTER_ADDR" else "a free port there"}, or '
                              'dist_params.init_method=tcp://HOST:PORT')
    return f'{env["MASTER_ADDR"]}:{env["MASTER_PORT"]}'


def _first_slurm_host():
    """Of 'node[01-03,07],login' it is node01."""
    nodes = os.environ.get('SLURM_STEP_NODELIST') or os.environ.get('SLURM_NODELIST', '')
    first = re.match(r'(\[[^\]]*\]|[^,\[])*', nodes)[0]
    return re.sub(r'\[([^\],-]+)[^\]]*\]', r'\1', first)
