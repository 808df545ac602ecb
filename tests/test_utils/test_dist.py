import datetime
import os
import platform
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mmssl.utils import dist, launch, launch_variables, rendezvous
from mmssl.utils.errors import ConfigError


def test_one_process_is_the_identity():
    x = torch.arange(6.).view(3, 2)
    assert dist.get_dist_info() == (0, 1)
    assert dist.concat_all_gather(x) is x and dist.gather_with_grad(x) is x
    assert torch.equal(dist.reduce_mean(x), x)
    assert dist.all_gather_object('a') == ['a'] and dist.broadcast_object('a') == 'a'
    shuffled, undo = dist.batch_shuffle_ddp(x)
    assert torch.equal(dist.batch_unshuffle_ddp(shuffled, undo), x)


def test_unknown_launcher_and_absent_environment(monkeypatch):
    with pytest.raises(ValueError, match='torchrun'):
        dist.init_dist('torchrun')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match="'RANK' is not set"):
        dist.init_dist('pytorch')
    with pytest.raises(ValueError, match="'nccl' or 'gloo', got 'ncl'"):
        dist.init_dist('pytorch', 'ncl')


@pytest.mark.parametrize('variables, found', [
    (dict(WORLD_SIZE=2, RANK=1), ('pytorch', 1, 2)),
    (dict(WORLD_SIZE=1, RANK=0), ('none', 0, 1)),
    (dict(WORLD_SIZE=2), ('none', 0, 1)),
    (dict(SLURM_NTASKS=3, SLURM_PROCID=2, SLURM_STEP_ID=0), ('slurm', 2, 3)),
    (dict(SLURM_NTASKS=3, SLURM_PROCID=0), ('none', 0, 1)),
    (dict(SLURM_NTASKS=2, SLURM_PROCID=0, SLURM_STEP_ID=0, WORLD_SIZE=16, RANK=9), ('pytorch', 9, 16)),
    (dict(OMPI_COMM_WORLD_SIZE=2, OMPI_COMM_WORLD_RANK=0), ('mpi', 0, 2)),
])
def test_the_launcher_is_found_by_its_variables(monkeypatch, variables, found):
    """A batch script of Slurm has SLURM_NTASKS too, and is one process."""
    for name in [*sum(launch.VARIABLES.values(), ()), 'SLURM_STEP_ID']:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    assert launch.find_launcher() == found
    if found[2] > 1:
        with pytest.raises(launch.LaunchError, match=f'{found[2]} processes were started'):
            launch.refuse_many()


@pytest.mark.parametrize('nodes, first', [('a,b', 'a'), ('node[01-03,07],login', 'node01'), ('n-[7,9]-ib', 'n-7-ib'),
                                          ('r[1-2]c[3-4]', 'r1c3')])
def test_first_host_of_a_slurm_list(monkeypatch, nodes, first):
    """Known without scontrol, which containers lack."""
    monkeypatch.setenv('SLURM_STEP_NODELIST', nodes)
    assert launch_variables._first_slurm_host() == first


def _join(rank, world_size, ways):
    found = []
    for names, variables, options in ways:
        torch.distributed.destroy_process_group()
        for name in [*sum(launch.VARIABLES.values(), launch._HYDRA), 'MASTER_ADDR', 'MASTER_PORT', 'NCCL_DEBUG']:
            os.environ.pop(name, None)
        if names:
            os.environ.update(zip(names, map(str, (world_size, rank, rank))))
        else:
            options = dict(options, rank=rank, world_size=world_size)
        os.environ.update(variables)
        words = dist.init_dist(**options)
        assert f'2 processes on 1 machine ({platform.node()}) have met at ' in words and words.endswith('by gloo')
        assert launch.find_launcher()[1:] == (rank, world_size)
        found.append((dist.all_gather_object(rank), os.environ.get('NCCL_DEBUG')))
    return found


@pytest.mark.long
def test_ways_to_meet(run_distributed, free_port, tmp_path, monkeypatch):
    """Each without --launcher. A file that a killed training has left is as good as a new one."""
    monkeypatch.setenv('PATH', str(tmp_path))  # there is no scontrol
    torchrun, slurm, mpi = launch.VARIABLES.values()
    address = dict(MASTER_ADDR='127.0.0.1')
    file = f'file://{tmp_path}/meeting'
    ways = [(torchrun, dict(address, MASTER_PORT=str(free_port())), dict(timeout=60)),
            (torchrun, dict(NCCL_DEBUG='WARN'), dict(init_method=f'tcp://127.0.0.1:{free_port()}',
                                                     env=dict(NCCL_DEBUG='INFO'))),
            (torchrun, {}, dict(init_method=file, env=dict(NCCL_DEBUG='INFO'))), ((), {}, dict(init_method=file)),
            ((), {}, dict(init_method=f'tcp://localhost:{free_port()}')),
            (slurm, dict(address, SLURM_STEP_ID='0'), dict(port=free_port())),
            (slurm, dict(SLURM_STEP_ID='0', SLURM_NODELIST='localhost,b'), dict(port=free_port())),
            (mpi, dict(OMPI_COMM_WORLD_LOCAL_SIZE='2', PMIX_NAMESPACE=str(free_port())), {}),
            (launch._HYDRA, dict(MPI_LOCALNRANKS='2'), dict(port=free_port()))]  # yapf: disable
    expected = [([0, 1], dict(enumerate([None, 'WARN', 'INFO'])).get(i)) for i in range(len(ways))]
    assert run_distributed(_join, ways) == [expected] * 2


def _meet(place, ranks, size=2, timeout=5.):
    """What threads in place of processes get, or their errors."""

    def one(rank):
        try:
            return rendezvous.meet(place, rank, size, datetime.timedelta(seconds=timeout))
        except launch.LaunchError as error:
            return str(error)

    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(one, ranks))


def test_who_is_missing_is_told(free_port, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rendezvous, '_FIRST_WORD', 0.1)
    host, place = platform.node(), f'tcp://127.0.0.1:{free_port()}'
    assert _meet(place, [0], 4, 0.3) == [
        f'rank 0 of 4 on {host} does not meet the others at {place}: 3 ranks are not there, such as 1, 2, 3, for 0.3 s '
        '(dist_params.timeout)']  # yapf: disable
    assert 'waits at tcp://127.0.0.1:' in capsys.readouterr().err
    place = f'tcp://127.0.0.1:{free_port()}'
    assert f'{place}: rank 0 does not answer ([Errno 111] Connection refused), for 0.3 s' in _meet(
        place, [1], timeout=0.3)[0]
    file = f'file://{tmp_path}/meeting'
    assert 'rank 1 is not there, for 0.3 s' in _meet(file, [0], timeout=0.3)[0]
    # rank 1 of another training comes between
    assert 'rank 0 of 2 has not called this one' in _meet(file, [1], timeout=0.3)[0]
    twice = [text for text in _meet(file, [1, 1], timeout=0.5) if 'is not alone' in text]
    assert twice and f'a process on {host} is rank 1 at {file} too, perhaps of another training' in twice[0]
    with socket.create_server(('127.0.0.1', 0)) as server:
        place = f'tcp://127.0.0.1:{server.getsockname()[1]}'
        assert 'is taken on' in _meet(place, [0])[0]
    assert 'cannot write file:///nowhere/meeting: No such file' in _meet('file:///nowhere/meeting', [0])[0]
    with pytest.raises(ConfigError, match="init_method is 'tcp://HOST:PORT', .* got 'tcp://a'"):
        _meet('tcp://a', [0])


def test_what_others_have_left_is_not_read(tmp_path):
    """Neither by those that come first nor by those that come last."""
    place = f'file://{tmp_path}/meeting'
    stores = []
    for ranks in ([0, 1], [1, 0], [0, 1]):
        (first, hosts), (second, _) = _meet(place, ranks)
        assert hosts == [platform.node()] * 2 and not second.check(['key'])
        first.set('key', 'value')
        assert second.get('key') == b'value'
        stores += [first, second]  # alive, so that the file stays


@pytest.mark.parametrize('variables, options, message', [
    (dict(WORLD_SIZE=2, RANK=1, LOCAL_RANK=1), dict(rank=1, world_size=2), 'RANK is in the environment: leave them'),
    ({}, dict(rank=2, world_size=2), 'a rank from 0 to world_size - 1 .*: got rank=2, world_size=2'),
    ({}, dict(world_size=2), 'got rank=None, world_size=2'),
    ({}, dict(rank=0, world_size=2), 'where do 2 processes meet.* no MASTER_ADDR'),
    (dict(OMPI_COMM_WORLD_SIZE=2, OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_LOCAL_RANK=0, OMPI_COMM_WORLD_LOCAL_SIZE=1),
     {}, 'where do 2 processes meet.*the machine of rank 0'),
    (dict(WORLD_SIZE=2, RANK=0, LOCAL_RANK='a'), {}, 'LOCAL_RANK are numbers'),
    (dict(WORLD_SIZE=2, RANK=0, LOCAL_RANK=0), dict(env=dict(OMP_NUM_THREADS=2)), "set 'OMP_NUM_THREADS' in the env"),
])  # yapf: disable
def test_settings_of_a_meeting_that_cannot_be(monkeypatch, variables, options, message):
    for name in [*sum(launch.VARIABLES.values(), ()), 'MASTER_ADDR', 'MASTER_PORT']:
        monkeypatch.setenv(name, '')  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match=message):
        dist.init_dist(**options)


def _pairwise(x):
    """A loss in which each local row meets every row of the global batch."""
    keys = dist.gather_with_grad(x)
    return ((x @ keys.T)**2).mean()


def _gradient_of_gather(rank, world_size, x):
    local = x.chunk(world_size)[rank].clone().requires_grad_()
    loss = _pairwise(local)
    loss.backward()
    return dist.reduce_mean(loss), local.grad / world_size


def test_gather_has_the_whole_gradient(run_distributed):
    """Pitfall: a GatherLayer that drops the gradients other ranks owe scales the gradient by 1/W."""
    x = torch.randn(6, 4)
    whole = x.clone().requires_grad_()
    loss = _pairwise(whole)
    loss.backward()
    results = run_distributed(_gradient_of_gather, x)
    torch.testing.assert_close(results[0][0], loss.detach())
    torch.testing.assert_close(torch.cat([grad for _, grad in results]), whole.grad)


def _collectives(rank, world_size):
    x = torch.full((rank + 1, 2), float(rank))
    y = torch.tensor([1. + rank], requires_grad=True)
    total = dist.all_reduce_sum_with_grad(y)
    (total**2).sum().backward()
    batch = torch.arange(4.).view(4, 1) + 4 * rank
    shuffled, undo = dist.batch_shuffle_ddp(batch)
    return dict(
        parts=dist.gather_variable(x),
        grad=y.grad,
        total=total.detach(),
        shuffled=shuffled,
        restored=dist.batch_unshuffle_ddp(shuffled, undo),
        seed=dist.sync_random_seed(),
        objects=dist.all_gather_object({'rank': rank}))


def test_collectives_of_two_processes(run_distributed):
    first, second = run_distributed(_collectives)
    for result in (first, second):
        assert [tuple(p.shape) for p in result['parts']] == [(1, 2), (2, 2)]
        assert result['total'] == 3 and result['grad'] == 2 * 2 * 3
        assert result['objects'] == [{'rank': 0}, {'rank': 1}]
    assert first['seed'] == second['seed']
    together = torch.cat([first['shuffled'], second['shuffled']]).flatten()
    assert together.sort().values.tolist() == list(range(8)) and together.tolist() != list(range(8))
    assert torch.equal(torch.cat([first['restored'], second['restored']]).flatten(), torch.arange(8.))


def _wait_for_the_first(rank, world_size, folder):
    dist.broadcast_object('of those before', patient=True)
    dist.barrier(dist.background_group())
    torch.distributed.destroy_process_group()
    assert dist.background_group() is None
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/impatient',
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=1))
    dist.barrier(dist.background_group())  # groups of processes that have parted are not taken again
    found = []
    for answer in ('first', 'second'):
        if rank == 0:
            time.sleep(2)
        found.append(dist.broadcast_object(answer if rank == 0 else None, patient=True))
    return found


def test_patient_processes_wait_beyond_the_timeout_of_the_group(run_distributed, tmp_path):
    """Clustering on one process may last longer than collectives may."""
    assert run_distributed(_wait_for_the_first, str(tmp_path)) == [['first', 'second']] * 2
